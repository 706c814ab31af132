// Package resp appends commands and parses replies of Redis's protocol, RESP2 and RESP3. It works on
// bytes alone.
package resp
