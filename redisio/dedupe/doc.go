// Package dedupe remembers in Redis which keys are done, and which are being worked on.
package dedupe
