// Package acl builds the rights of single commands and keys.
package acl
