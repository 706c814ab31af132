// Package dedupe remembers in Redis which keys are done, and which are in progress.
package dedupe
