package app

// SamePress is how long interrupts count as one.
const SamePress = samePress
