package redisio_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
)

// times has all units of numbers.
type times struct {
	Plain  time.Time     `stream:"plain,omitempty"`
	Sec    time.Time     `stream:"sec,unix,omitempty"`
	Milli  time.Time     `stream:"milli,unixmilli,omitempty"`
	Micro  time.Time     `stream:"micro,omitempty,unixmicro"`
	Nano   time.Time     `stream:"nano,unixnano,omitempty"`
	Wait   time.Duration `stream:"wait,omitempty,milli"`
	Long   time.Duration `stream:"long,sec,omitempty"`
	Maybe  *time.Time    `stream:"maybe,unix"`
	Needed string        `stream:"needed,required"`
}

func decodeTimes(t *testing.T, fields ...string) (times, error) {
	t.Helper()
	f, err := redisio.RawStruct[times]()
	if err != nil {
		t.Fatal(err)
	}
	e := &redisio.Entry{ID: "1-1"}
	for i := 0; i < len(fields); i += 2 {
		e.Fields = append(e.Fields, redisio.Field{Name: fields[i], Value: []byte(fields[i+1])})
	}
	return f.Decode(e, &redisio.Envelope{})
}

func TestFault_O4_UnitsOfTimes(t *testing.T) {
	at := time.Date(2024, 11, 23, 9, 46, 40, 0, time.UTC) // 1732355200
	for name, fields := range map[string][]string{
		"rfc 3339": {"plain", "2024-11-23T09:46:40Z"},
		"milli":    {"plain", "1732355200000"},
	} {
		got, err := decodeTimes(t, append(fields, "needed", "x")...)
		if err != nil || !got.Plain.Equal(at) {
			t.Errorf("%s: %v, %v", name, got.Plain, err)
		}
	}
	got, err := decodeTimes(
		t,
		"sec",
		"1732355200",
		"milli",
		"1732355200250",
		"micro",
		"1732355200000001",
		"nano",
		"1732355200000000001",
		"wait",
		"1500",
		"long",
		"2.5",
		"maybe",
		"1732355200.125",
		"needed",
		"",
	)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string][2]time.Time{
		"unix": {got.Sec, at}, "unixmilli": {got.Milli, at.Add(250 * time.Millisecond)}, "unixmicro": {got.Micro, at.Add(time.Microsecond)},
		"unixnano": {got.Nano, at.Add(1)}, "a fraction": {*got.Maybe, at.Add(125 * time.Millisecond)},
	} {
		if !c[0].Equal(c[1]) {
			t.Errorf("%s: %v, want %v", name, c[0], c[1])
		}
	}
	if got.Wait != 1500*time.Millisecond || got.Long != 2500*time.Millisecond {
		t.Errorf("durations %v, %v", got.Wait, got.Long)
	}
	f, _ := redisio.RawStruct[times]()
	out, _, err := f.Encode(
		nil,
		nil,
		&redisio.Envelope{},
		times{Sec: at, Milli: at, Micro: at, Nano: at, Wait: 2 * time.Second, Long: time.Minute},
	)
	want := map[string]string{
		"sec":    "1732355200",
		"milli":  "1732355200000",
		"micro":  "1732355200000000",
		"nano":   "1732355200000000000",
		"wait":   "2000",
		"long":   "60",
		"needed": "",
	}
	written := make(map[string]string)
	for _, field := range out {
		written[field.Name] = string(field.Value)
	}
	if diff := cmp.Diff(want, written); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// A number that would mean January 1970, or the year 56000, is an error that names the remedy.
func TestFault_O4_ImplausibleTimesAreRefused(t *testing.T) {
	for name, fields := range map[string][]string{
		"seconds without a unit":      {"plain", "1732355200"},
		"microseconds without a unit": {"plain", "1732355200000000"},
		"zero":                        {"plain", "0"},
		"milliseconds as seconds":     {"sec", "1732355200000"},
		"no number":                   {"sec", "2024-11-23T09:46:40Z"},
		"a letter":                    {"sec", "1.x"},
		"a duration that is too long": {"long", "9223372036854775807"},
	} {
		_, err := decodeTimes(t, append(fields, "needed", "x")...)
		var bad *redisio.DecodeError
		if !errors.As(err, &bad) || bad.Field != fields[0] {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := decodeTimes(t, "plain", "1732355200", "needed", "x"); !strings.Contains(err.Error(), "unix") {
		t.Errorf("no remedy: %v", err)
	}
}

func TestFault_O4_RequiredFields(t *testing.T) {
	_, err := decodeTimes(t, "sec", "1732355200")
	var bad *redisio.DecodeError
	if !errors.Is(err, redisio.ErrMissing) || !errors.As(err, &bad) || bad.Field != "needed" {
		t.Errorf("got %v", err)
	}
	for name, wrong := range map[string]func() error{
		"a unit of a string": func() error {
			return rig.Second(redisio.RawStruct[struct {
				A string `stream:"a,unix"`
			}]())
		},
		"a duration in unix": func() error {
			return rig.Second(redisio.RawStruct[struct {
				A time.Duration `stream:"a,unix"`
			}]())
		},
		"a time in milli": func() error {
			return rig.Second(redisio.RawStruct[struct {
				A time.Time `stream:"a,milli"`
			}]())
		},
		"two units": func() error {
			return rig.Second(redisio.RawStruct[struct {
				A time.Time `stream:"a,unix,unixmilli"`
			}]())
		},
		"omitted, but required": func() error {
			return rig.Second(redisio.RawStruct[struct {
				A string `stream:"a,omitempty,required"`
			}]())
		},
		"an option not known": func() error {
			return rig.Second(redisio.RawStruct[struct {
				A string `stream:"a,needed"`
			}]())
		},
	} {
		var is *redisio.ConfigError
		if err := wrong(); !errors.As(err, &is) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
