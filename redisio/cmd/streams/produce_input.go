package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/streamerson/streamerson-go/redisio"
)

// item is one entry to write.
type item struct {
	at     int64 // the number of its value or line, from 1
	fields redisio.Fields
}

// input is the stream of items. A goroutine reads ahead, so that a batch ends when nothing is ready.
type input struct {
	items chan item
	fail  error // once items is closed
}

// feed starts reading.
func (p *production) feed(ctx context.Context, c *call) *input {
	in := &input{items: make(chan item, 256)}
	// Ends with the input or with ctx. A read of standard input can't be interrupted, so nothing waits
	// for it: the process ends then.
	go func() {
		defer close(in.items)
		send := func(i item) bool {
			select {
			case in.items <- i:
				return true
			case <-ctx.Done():
				return false
			}
		}
		switch values := c.args[1:]; {
		case len(p.fields) > 0:
			p.repeat(send, []redisio.Fields{p.plain()})
		case len(values) > 0:
			var all []redisio.Fields
			for _, v := range values {
				all = append(all, p.native(&p.envelope, []byte(v)))
			}
			p.repeat(send, all)
		default:
			in.fail = p.lines(c, send)
		}
	}()
	return in
}

// gather waits for an item and returns it with those that are ready, at most n of them.
func (in *input) gather(ctx context.Context, n int) (batch []item) {
	select {
	case i, ok := <-in.items:
		if !ok {
			return nil
		}
		batch = append(batch, i)
	case <-ctx.Done():
		return nil
	}
	for size := batch[0].fields.Size(); len(batch) < n && size < produceBytes; {
		select {
		case i, ok := <-in.items:
			if !ok {
				return batch
			}
			batch, size = append(batch, i), size+i.fields.Size()
		default:
			return batch
		}
	}
	return batch
}

// err is why the input ended early, after gather returned nothing.
func (in *input) err(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return in.fail
}

// repeat sends each of the entries once, or n in turn.
func (p *production) repeat(send func(item) bool, all []redisio.Fields) {
	n := p.n
	if n == 0 {
		n = int64(len(all))
	}
	for i := int64(0); i < n && send(item{i + 1, all[i%int64(len(all))]}); i++ {
	}
}

// lines sends the lines of standard input.
func (p *production) lines(c *call, send func(item) bool) error {
	if c.terminal {
		c.note("reading lines from the terminal: end with Ctrl-D")
	}
	for n := int64(1); p.n == 0 || n <= p.n; n++ {
		line, err := readLine(c.in)
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("line %d: %w", n, err)
		}
		fields := redisio.Fields(nil)
		if p.input == "json" {
			if len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			if fields, err = p.parse(line); err != nil {
				return fmt.Errorf("line %d: %w", n, err)
			}
		} else {
			fields = p.native(&p.envelope, line)
		}
		if !send(item{n, fields}) {
			return nil
		}
	}
	return nil
}

// readLine returns a line without its end. It allocates as it reads, up to produceBytes.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > produceBytes {
			return nil, fmt.Errorf("it exceeds %d MiB", produceBytes>>20)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if bare, ok := bytes.CutSuffix(line, []byte("\n")); ok {
			return bytes.TrimSuffix(bare, []byte("\r")), nil
		}
		return line, err
	}
}

// plain returns the fields of -field.
func (p *production) plain() (fields redisio.Fields) {
	for _, f := range p.fields {
		fields = append(fields, redisio.Field{Name: f[0], Value: []byte(f[1])})
	}
	return fields
}

// native returns the fields of a message in the native format.
func (p *production) native(e *redisio.Envelope, data []byte) redisio.Fields {
	fields, _, _ := redisio.Native(redisio.Bytes()).Encode(nil, nil, e, data) // bytes always encode
	return fields
}

// jsonEntry is an entry of -input json.
type jsonEntry struct {
	Data    json.RawMessage   `json:"data"`
	Base64  []byte            `json:"dataBase64"`
	Type    string            `json:"type"`
	Key     string            `json:"key"`
	ID      string            `json:"id"`
	Headers map[string]string `json:"headers"`

	Fields     []jsonField `json:"fields"`
	Deliveries int64       `json:"deliveries"` // of tail -group; left out
}

// parse parses a line of JSON.
func (p *production) parse(line []byte) (redisio.Fields, error) {
	var e jsonEntry
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil {
		if strings.Contains(err.Error(), "unknown field") {
			err = fmt.Errorf("%w; leave -input out if the line is the data itself", err)
		}
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value: write one object per line")
	}
	if e.Fields != nil {
		return e.raw()
	}
	data := e.Base64
	switch {
	case len(e.Data) > 0 && e.Base64 != nil:
		return nil, errors.New("both data and dataBase64: write one of them")
	case len(e.Data) == 0 && e.Base64 == nil:
		return nil, errors.New("neither data, dataBase64 nor fields: write one of them")
	case len(e.Data) > 0 && e.Data[0] == '"':
		var s string
		if err := json.Unmarshal(e.Data, &s); err != nil {
			return nil, err
		}
		data = []byte(s)
	case len(e.Data) > 0:
		data = e.Data
	}
	env := redisio.Envelope{ID: e.ID, Key: e.Key, Type: e.Type}
	for _, name := range slices.Sorted(maps.Keys(e.Headers)) {
		env.Headers = append(env.Headers, redisio.Header{Name: name, Value: e.Headers[name]})
	}
	return p.native(&env, data), nil
}

// raw returns the fields as they are.
func (e *jsonEntry) raw() (fields redisio.Fields, err error) {
	if len(e.Data) > 0 || e.Base64 != nil || e.Type+e.Key != "" || e.Headers != nil {
		return nil, errors.New("fields beside data, type, key or headers: write only one kind")
	}
	if len(e.Fields) == 0 {
		return nil, errors.New("no fields: an entry needs at least one")
	}
	for _, f := range e.Fields {
		name, value := []byte(f.Name), []byte(nil)
		if f.NameBase64 != "" {
			name, err = base64.StdEncoding.DecodeString(f.NameBase64)
		}
		if f.Value != nil {
			value = []byte(*f.Value)
		} else if err == nil {
			value, err = base64.StdEncoding.DecodeString(f.Base64)
		}
		if err != nil {
			return nil, fmt.Errorf("field %q: %w", f.Name, err)
		}
		fields = append(fields, redisio.Field{Name: string(name), Value: value})
	}
	return fields, nil
}
