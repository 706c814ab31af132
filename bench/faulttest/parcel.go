package faulttest

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/streamerson/streamerson-go/redisio"
)

// parcel is the message: numbered, keyed, and if it is a poisoned one, how.
type parcel struct {
	ID     int    `json:"id"`
	Key    int    `json:"key"`
	Poison string `json:"poison,omitempty"`
	Pad    string `json:"pad"`
}

// The ways of a poisoned message, each of which ends in the dead letters.
const (
	poisonError   = "error"   // the handler fails each time
	poisonPanic   = "panic"   // and panics
	poisonReject  = "reject"  // and says at once that it is hopeless
	poisonHang    = "hang"    // and does not come back, until its timeout
	poisonGarbage = "garbage" // it cannot be decoded
)

var poisons = [...]string{poisonError, poisonPanic, poisonReject, poisonHang, poisonGarbage}

// keyOf is the key of a message: neighbours share one.
func keyOf(id int) int { return id / 4 % keys }

const keys = 64

var pad = strings.Repeat("x", 64)

// payload is the data of the entry that carries a message. The id stands first, so that it is found
// in data that is no JSON.
func payload(id int, poison string) []byte {
	b, err := json.Marshal(parcel{ID: id, Key: keyOf(id), Poison: poison, Pad: pad})
	if err != nil {
		panic(err) // numbers and plain strings
	}
	if poison == poisonGarbage {
		b = b[:len(b)-2]
	}
	return b
}

const idPrefix = `{"id":`

// idOf finds the id in the data of an entry.
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

// codec is JSON with seams for crashes before and after it.
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
