package cron

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

func at(t *testing.T, s string) time.Time {
	t.Helper()
	tick, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return tick
}

func TestNext(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, spec string
		loc        *time.Location
		from       string
		want       []string
	}{
		{"five fields", "*/15 8 * * *", nil, "2024-05-01T08:20:00Z", []string{"2024-05-01T08:30:00Z", "2024-05-01T08:45:00Z", "2024-05-02T08:00:00Z"}},
		{"a tick is after, not at", "0 * * * *", nil, "2024-05-01T08:00:00Z", []string{"2024-05-01T09:00:00Z"}},
		{"descriptor", "@daily", nil, "2024-05-01T08:00:00Z", []string{"2024-05-02T00:00:00Z", "2024-05-03T00:00:00Z"}},
		{"in a zone", "0 9 * * MON", berlin, "2024-07-01T00:00:00Z", []string{"2024-07-01T07:00:00Z", "2024-07-08T07:00:00Z"}},
		{"summer time begins: the hour is missing", "30 2 * * *", berlin, "2024-03-30T00:00:00Z",
			[]string{"2024-03-30T01:30:00Z", "2024-04-01T00:30:00Z"}},
		{"summer time ends: the hour is there twice", "30 2 * * *", berlin, "2024-10-26T12:00:00Z",
			[]string{"2024-10-27T00:30:00Z", "2024-10-27T01:30:00Z", "2024-10-28T01:30:00Z"}},
		{"leap day", "0 0 29 2 *", nil, "2024-03-01T00:00:00Z", []string{"2028-02-29T00:00:00Z"}},
		{"every, from anywhere", "@every 10s", berlin, "2024-05-01T08:00:03.5Z", []string{"2024-05-01T08:00:10Z", "2024-05-01T08:00:20Z"}},
		{"every, at a tick", "@every 250ms", nil, "2024-05-01T08:00:00.25Z", []string{"2024-05-01T08:00:00.5Z"}},
		{"every week is counted from 1970", "@every 168h", nil, "1970-01-02T00:00:00Z", []string{"1970-01-08T00:00:00Z"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			next, err := Next(test.spec, test.loc)
			if err != nil {
				t.Fatal(err)
			}
			now := at(t, test.from)
			var got []string
			for range test.want {
				now = next(now)
				got = append(got, now.UTC().Format(time.RFC3339Nano))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("ticks (-want +got):\n%s", diff)
			}
		})
	}
	for _, spec := range []string{"", "* * * *", "60 * * * *", "@every", "@every 0s", "@every 1ms", "@every 1.5ms",
		"@every -1h",
		"TZ=UTC 0 * * * *", "TZ=", "CRON_TZ=UTC @daily", "@sometimes", "0 0 30 2 *"} {
		if _, err := Next(spec, nil); err == nil {
			t.Errorf("%q is taken", spec)
		}
	}
	if next, err := Next("0 12 * * *", time.Local); err != nil || next(time.Now().UTC()).In(time.Local).Hour() != 12 {
		t.Error("noon in the local zone is another", err)
	}
}

// An invalid spec is a mistake in the blueprint, in addition to those of source.Ticks.
func TestValidate(t *testing.T) {
	err := flow.New("g", flow.To(Source(nil, "x", source.TicksConfig{Group: "g"}), sink.Discard[source.Tick]())).
		Validate()
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("got %v", err)
	}
	got := make(map[string]bool)
	for _, err := range joined.Unwrap() {
		var e *flow.BuildError
		if errors.As(err, &e) {
			got[e.Field] = true
		}
	}
	if !got["Spec"] || !got["Key"] || !got["rdb"] || got["Next"] {
		t.Errorf("mistakes of %v", got)
	}
}
