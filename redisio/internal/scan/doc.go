// Package scan converts bytes without copying them.
package scan
