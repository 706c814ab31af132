package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// Result is the result of one implementation of a case: medians over its repetitions. Its JSON is
// one line.
type Result struct {
	Case           string  `json:"case"`
	Implementation string  `json:"implementation"`
	Ours           bool    `json:"ours,omitempty"`
	N              int     `json:"n"`
	PayloadBytes   int     `json:"payload_bytes"`
	Seconds        float64 `json:"seconds"`
	PerSecond      float64 `json:"messages_per_second"`
	Allocs         float64 `json:"allocs_per_message"`
	Bytes          float64 `json:"bytes_per_message"`
	// Ratio is the rate divided by the reference's rate in the same repetition, the median over the
	// repetitions. In the latency case it is the ratio of the p50s, so less is better.
	Ratio     float64 `json:"ratio"`
	Reference string  `json:"reference"`
	Reps      int     `json:"reps"`
	// ClientMicros and ServerMicros are the CPU time per message of this process and of the Redis
	// server. 0 means unknown.
	ClientMicros float64 `json:"client_cpu_us_per_message,omitempty"`
	ServerMicros float64 `json:"server_cpu_us_per_message,omitempty"`
	// P50Micros and P99Micros are percentiles of the message latency. 0 means not measured.
	P50Micros float64 `json:"p50_us,omitempty"`
	P99Micros float64 `json:"p99_us,omitempty"`

	byRate bool
}

// summary returns the medians.
func summary(c Case, trials map[string][]*Trial) []Result {
	var results []Result
	for _, i := range c.Implementations {
		ts := trials[i.Name]
		if len(ts) == 0 {
			continue
		}
		of := func(f func(*Trial) float64) float64 {
			values := make([]float64, len(ts))
			for i, t := range ts {
				values[i] = f(t)
			}
			return median(values)
		}
		n := float64(ts[0].N)
		results = append(results, Result{
			Case: c.Name, Implementation: i.Name, Ours: i.Ours, N: ts[0].N, PayloadBytes: ts[0].Payload, Reps: len(ts),
			Seconds:      of(func(t *Trial) float64 { return t.elapsed.Seconds() }),
			PerSecond:    of((*Trial).rate),
			Allocs:       of(func(t *Trial) float64 { return float64(t.used.mallocs) / n }),
			Bytes:        of(func(t *Trial) float64 { return float64(t.used.bytes) / n }),
			Ratio:        ratio(ts, trials[c.Reference]),
			Reference:    c.Reference,
			ClientMicros: of(func(t *Trial) float64 { return micros(t.used.cpu) / n }),
			ServerMicros: of(func(t *Trial) float64 { return micros(t.used.server) / n }),
			P50Micros:    of(func(t *Trial) float64 { return micros(t.percentile(50)) }),
			P99Micros:    of(func(t *Trial) float64 { return micros(t.percentile(99)) }),
			byRate:       c.ByRate,
		})
	}
	return results
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// ratio returns the median of the ratios of each repetition.
func ratio(ts, reference []*Trial) float64 {
	var ratios []float64
	for i := range min(len(ts), len(reference)) {
		t, ref := ts[i], reference[i]
		if len(t.Latencies) > 0 && !t.byRate {
			ratios = append(ratios, float64(t.percentile(50))/float64(ref.percentile(50)))
		} else {
			ratios = append(ratios, t.rate()/ref.rate())
		}
	}
	return median(ratios)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	if mid := len(values) / 2; len(values)%2 == 0 {
		return (values[mid-1] + values[mid]) / 2
	} else {
		return values[mid]
	}
}

// WriteJSON writes one line per result.
func WriteJSON(w io.Writer, results []Result) error {
	e := json.NewEncoder(w)
	for _, r := range results {
		if err := e.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// WriteTable writes the results of a case as a table.
func WriteTable(w io.Writer, results []Result) error {
	if len(results) == 0 {
		return nil
	}
	first := results[0]
	fmt.Fprintf(
		w,
		"\n%s, %d B (ratio to %s; medians of %d)\n",
		first.Case,
		first.PayloadBytes,
		first.Reference,
		first.Reps,
	)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if first.byRate {
		fmt.Fprint(
			tw,
			"implementation\tn\tmsgs/s\tp50 µs\tp99 µs\tallocs/msg\tB/msg\tclient µs/msg\tserver µs/msg\tratio\t\n",
		)
		for _, r := range results {
			fmt.Fprintf(
				tw,
				"%s\t%d\t%.0f\t%.0f\t%.0f\t%.2f\t%.0f\t%.1f\t%.1f\t%.2f\t\n",
				r.Implementation,
				r.N,
				r.PerSecond,
				r.P50Micros,
				r.P99Micros,
				r.Allocs,
				r.Bytes,
				r.ClientMicros,
				r.ServerMicros,
				r.Ratio,
			)
		}
		return tw.Flush()
	}
	if first.P50Micros > 0 {
		fmt.Fprint(
			tw,
			"implementation\tn\tp50 µs\tp99 µs\tallocs/msg\tB/msg\tclient µs/msg\tserver µs/msg\tratio of p50\t\n",
		)
		for _, r := range results {
			fmt.Fprintf(tw, "%s\t%d\t%.0f\t%.0f\t%.2f\t%.0f\t%.1f\t%.1f\t%.2f\t\n", r.Implementation, r.N,
				r.P50Micros, r.P99Micros, r.Allocs, r.Bytes, r.ClientMicros, r.ServerMicros, r.Ratio)
		}
		return tw.Flush()
	}
	fmt.Fprint(tw, "implementation\tn\tmsgs/s\tns/msg\tallocs/msg\tB/msg\tclient µs/msg\tserver µs/msg\tratio\t\n")
	for _, r := range results {
		fmt.Fprintf(tw, "%s\t%d\t%.0f\t%.1f\t%.2f\t%.0f\t%.3f\t%.3f\t%.3f\t\n", r.Implementation, r.N, r.PerSecond,
			1e9/r.PerSecond, r.Allocs, r.Bytes, r.ClientMicros, r.ServerMicros, r.Ratio)
	}
	return tw.Flush()
}
