// Package streamersonv1 reads and writes the entries of streamerson for Node: [Format] has the
// fields, [Topic] the keys.
package streamersonv1
