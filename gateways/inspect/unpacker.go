package inspect

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strconv"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/streamerson/streamerson-go/flow"
)

// unpacker reads reports that any process may have written. It is for one goroutine.
//
// Idea: most of the cost is JSON. A blueprint never changes, and all processes that run a graph have
// the same one. So its text is compared with those that were decoded before.
type unpacker struct {
	gzip       *gzip.Reader
	text       bytes.Buffer
	blueprints map[string]flow.Description // by their JSON; not to be changed
	size       int                         // bytes of that JSON
}

// maxBlueprints bounds the JSON that an unpacker keeps, in bytes. It starts again when it has more.
const maxBlueprints = 4 << 20

// received is a report with blueprints that are not decoded yet.
type received struct {
	Report
	Graphs []struct {
		Blueprint jsontext.Value `json:"blueprint"`
		Snapshot  flow.Snapshot  `json:"snapshot"`
		Recent    []flow.Event   `json:"recent"`
	} `json:"graphs"`
}

// likeSent reads what encoding/json has written: durations are nanoseconds.
var likeSent = jsonv1.FormatDurationAsNano(true)

func (u *unpacker) unpack(packed []byte) (*Report, error) {
	if err := u.unzip(packed); err != nil {
		return nil, err
	}
	var all received
	if err := jsonv2.Unmarshal(u.text.Bytes(), &all, likeSent); err != nil {
		return nil, err
	}
	r := &all.Report
	r.Graphs = make([]GraphReport, len(all.Graphs))
	for i := range all.Graphs {
		g := &all.Graphs[i]
		blueprint, err := u.blueprint(g.Blueprint)
		if err != nil {
			return nil, err
		}
		r.Graphs[i] = GraphReport{Blueprint: blueprint, Snapshot: g.Snapshot, Recent: g.Recent}
	}
	return r, nil
}

// unzip sets the text.
func (u *unpacker) unzip(packed []byte) (err error) {
	if u.gzip == nil {
		u.gzip, err = gzip.NewReader(bytes.NewReader(packed))
	} else {
		err = u.gzip.Reset(bytes.NewReader(packed))
	}
	if err != nil {
		u.gzip = nil
		return err
	}
	u.text.Reset()
	n, err := u.text.ReadFrom(io.LimitReader(u.gzip, maxReport+1))
	if err == nil && n > maxReport {
		err = errors.New("inspect: a report of more than " + strconv.Itoa(maxReport) + " bytes")
	}
	return err
}

// blueprint decodes a blueprint, unless it knows its text.
func (u *unpacker) blueprint(text jsontext.Value) (d flow.Description, err error) {
	if d, ok := u.blueprints[string(text)]; ok || len(text) == 0 {
		return d, nil
	}
	if err := jsonv2.Unmarshal(text, &d, likeSent); err != nil {
		return d, err
	}
	if u.size += len(text); u.blueprints == nil || u.size > maxBlueprints {
		u.blueprints, u.size = make(map[string]flow.Description), len(text)
	}
	u.blueprints[string(text)] = d
	return d, nil
}
