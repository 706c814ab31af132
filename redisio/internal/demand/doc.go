// Package demand converts a bound in bytes to a COUNT, by the size of earlier entries.
package demand
