package main

import (
	"hash/fnv"
	"math/rand/v2"
	"strings"
)

var (
	openings = []string{"That is a good question.", "Let us take it step by step.", "The short answer is: it depends.",
		"Many people have asked this."}
	subjects = []string{"A stream", "The writer", "A follower", "Each node", "The cursor", "A browser", "The service",
		"Every word", "A process", "The page"}
	verbs = []string{
		"remembers",
		"continues",
		"repeats",
		"follows",
		"keeps",
		"reads",
		"passes on",
		"waits for",
		"finds",
	}
	objects = []string{"what was said before", "the next word", "the place where it stopped", "all that others see",
		"the end of the answer", "one value after the other", "nothing twice", "the same text everywhere"}
	reasons = []string{"because Redis has it", "even if the page is reloaded", "although its process was killed",
		"until somebody stops it", "as long as the answer lives", "on every node", "and nobody notices", "in order"}
)

const sentences = 40

// answer returns the words of an answer. Equal questions have equal answers, so a second attempt can
// continue the first.
func answer(question string) []string {
	seed := fnv.New64a()
	seed.Write([]byte(question))
	r := rand.New(rand.NewPCG(seed.Sum64(), 7))
	pick := func(from []string) string { return from[r.IntN(len(from))] }
	text := []string{"“" + question + "”", pick(openings)}
	for range sentences {
		text = append(text, pick(subjects), pick(verbs), pick(objects), pick(reasons)+".")
	}
	words := strings.Fields(strings.Join(text, " "))
	for i := range words[:len(words)-1] {
		words[i] += " "
	}
	return words
}
