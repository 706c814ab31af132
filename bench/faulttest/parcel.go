package faulttest

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/streamerson/streamerson-go/redisio"
)

// parcel is a message: its number, its key, and how it is poisoned, if it is.
type parcel struct {
	ID     int    `json:"id"`
	Key    int    `json:"key"`
	Poison string `json:"poison,omitempty"`
	Pad    string `json:"pad"`
}

// The kinds of poison. Each ends in the dead letters.
const (
	poisonError   = "error"   // the handler fails each time
	poisonPanic   = "panic"   // the handler panics
	poisonReject  = "reject"  // the handler rejects it at once
	poisonHang    = "hang"    // the handler blocks until its timeout
	poisonGarbage = "garbage" // it cannot be decoded
)

var poisons = [...]string{poisonError, poisonPanic, poisonReject, poisonHang, poisonGarbage}

// keyOf returns the key of a message. Neighbours share a key.
func keyOf(id int) int { return id / 4 % keys }

const keys = 64

var pad = strings.Repeat("x", 64)

// payload returns the data of a message's entry. The id comes first, so that it is found in data
// that is not JSON.
func payload(id int, poison string) []byte {
	b, err := json.Marshal(parcel{ID: id, Key: keyOf(id), Poison: poison, Pad: pad})
	if err != nil {
		panic(err) // numbers and plain strings can be encoded
	}
	if poison == poisonGarbage {
		b = b[:len(b)-2]
	}
	return b
}

const idPrefix = `{"id":`

// idOf returns the id in the data of an entry.
func idOf(data string) (int, error) {
	rest, ok := strings.CutPrefix(data, idPrefix)
	if !ok {
		return 0, fmt.Errorf("faulttest: %.40q has no id", data)
	}
	end := strings.IndexAny(rest, ",}")
	if end < 0 {
		return 0, fmt.Errorf("faulttest: %.40q has no id", data)
	}
	return strconv.Atoi(rest[:end])
}

// codec is JSON with crash steps before and after it.
type codec struct {
	redisio.Codec[parcel]
	at func(step string)
}

func (c codec) Append(dst []byte, p parcel) ([]byte, error) {
	c.at("encode: before")
	dst, err := c.Codec.Append(dst, p)
	c.at("encode: after")
	return dst, err
}

func (c codec) Decode(data []byte) (parcel, error) {
	c.at("decode: before")
	p, err := c.Codec.Decode(data)
	c.at("decode: after")
	return p, err
}
