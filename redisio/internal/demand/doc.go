// Package demand turns a bound in bytes into a COUNT, by the size of the entries so far.
package demand
