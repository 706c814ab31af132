// Package flowtest tests what is made with package flow.
package flowtest
