// Package check validates arguments, such as the client and the key, and adds the stream to errors.
package check
