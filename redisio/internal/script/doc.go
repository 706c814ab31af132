// Package script has the Lua scripts that more than one package uses, and the bounds of one call.
package script
