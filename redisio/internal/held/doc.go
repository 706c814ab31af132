// Package held keeps the entries that a reader has returned and that are not settled: those handed
// out, in a [Ledger] by ID, and those that wait for their next delivery.
package held
