// Package acl builds rights from commands and keys.
package acl
