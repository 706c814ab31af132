package rig

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/streamerson/streamerson-go/redisio"
)

func CRLF(s string) []byte { return []byte(strings.ReplaceAll(s, " ", "\r\n") + "\r\n") }

func Encode(entries []redisio.Entry, resp3 bool) []byte {
	var b bytes.Buffer
	bulk := func(s []byte) { fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(s), s) }
	if resp3 {
		b.WriteString("%1\r\n")
	} else {
		b.WriteString("*1\r\n*2\r\n")
	}
	bulk([]byte("key"))
	fmt.Fprintf(&b, "*%d\r\n", len(entries))
	for _, e := range entries {
		b.WriteString("*2\r\n")
		bulk([]byte(e.ID))
		if e.Deleted {
			b.WriteString("*-1\r\n")
			continue
		}
		fmt.Fprintf(&b, "*%d\r\n", 2*len(e.Fields))
		for _, f := range e.Fields {
			bulk([]byte(f.Name))
			bulk(f.Value)
		}
	}
	return b.Bytes()
}
