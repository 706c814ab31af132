package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"image"
	_ "image/gif" // uploads
	_ "image/jpeg"
	"image/png"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/jobs"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/sink"
)

// Picture is a job: an uploaded picture, or the seed of a generated one.
type Picture struct {
	Name string `json:"name"`
	Data []byte `json:"data,omitempty"`
	Seed uint64 `json:"seed,omitempty"`
	Jams int    `json:"jams,omitempty"` // how many attempts fail, on purpose
}

// Thumbs is the result: the widths for which there are thumbnails.
type Thumbs struct {
	Widths []int `json:"widths"`
}

var widths = []int{32, 64, 128, 256}

// piece is one thumbnail to be made of a picture.
type piece struct {
	jobs.Task[Picture, Thumbs]
	image image.Image
	width int
	made  []byte
}

// worker makes four thumbnails of each picture. They are separate messages, so the page knows how many
// of them are done.
func worker(q *jobs.Queue[Picture, Thumbs], store *store, pace time.Duration, log *slog.Logger) *flow.Graph {
	pieces := operators.FlatMap(q.Source(), split, flow.Name("decode"))
	shrink := func(ctx context.Context, p piece) (piece, error) {
		if p.width == 128 && p.Attempt <= p.Value.Jams {
			return p, flow.RetryAfter(2*time.Second, errors.New("the press has jammed"))
		}
		err := flow.Sleep(ctx, pace) // a large picture would take as long
		p.made = encode(shrunk(p.image, p.width))
		return p, err
	}
	made := operators.Map(pieces, shrink, flow.Workers(4), flow.Unordered(), flow.Name("shrink"))
	save := func(ctx context.Context, p piece) error {
		if err := store.put(ctx, p.ID, p.width, p.made); err != nil {
			return err
		}
		p.Update(func(r *Thumbs) {
			r.Widths = append(r.Widths, p.width)
			slices.Sort(r.Widths)
		})
		return nil
	}
	return flow.New("thumbnails", flow.To(made, sink.Func(save, flow.Name("save"))), flow.Log(log))
}

func split(_ context.Context, t jobs.Task[Picture, Thumbs], emit func(piece)) error {
	img := generated(t.Value.Seed)
	if len(t.Value.Data) > 0 {
		var err error
		if img, err = decoded(t.Value.Data); err != nil {
			return flow.Reject(err) // a retry would not help
		}
	}
	for _, w := range widths {
		emit(piece{Task: t, image: img, width: w})
	}
	return nil
}

// store keeps thumbnails in Redis. Writing one twice does no harm.
type store struct {
	rdb  redis.UniversalClient
	keep time.Duration
}

func thumbKey(id string, width int) string { return fmt.Sprintf("{thumbnails}:thumb:%s:%d", id, width) }

func (s *store) put(ctx context.Context, id string, width int, data []byte) error {
	return s.rdb.Set(ctx, thumbKey(id, width), data, s.keep).Err()
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	width, _ := strconv.Atoi(r.PathValue("width")) // 0 is in no key
	data, err := s.rdb.Get(r.Context(), thumbKey(r.PathValue("id"), width)).Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		http.NotFound(w, r)
	case err != nil:
		http.Error(w, "redis is away", http.StatusServiceUnavailable)
	default:
		w.Header().Set("Content-Type", "image/png")
		_, _ = w.Write(data)
	}
}

//go:embed page
var page embed.FS

// routes serves the page, the jobs and the thumbnails.
func routes(q *jobs.Queue[Picture, Thumbs], store *store) http.Handler {
	mux := http.NewServeMux()
	h := q.HTTP(jobs.HTTPConfig[Picture]{List: true})
	mux.Handle("/jobs", h)
	mux.Handle("/jobs/{id}", h)
	mux.Handle("GET /thumbs/{id}/{width}", store)
	mux.Handle("/", cli.Page(page))
	return cli.Secure(mux)
}

func encode(img image.Image) []byte {
	var b bytes.Buffer
	_ = png.Encode(&b, img) // a buffer takes everything
	return b.Bytes()
}
