// Package flow is the core.
package flow
