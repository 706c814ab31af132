// Package fault classifies errors as permanent, temporary or not sent, and waits between retries.
package fault
