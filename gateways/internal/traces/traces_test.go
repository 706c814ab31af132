package traces_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/traces"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Invalid or too long parts of an outsider's trace are left out.
func TestOutside(t *testing.T) {
	const valid = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
	parent := flow.Header{Name: "traceparent", Value: valid}
	for name, test := range map[string]struct {
		parent, state, baggage []string
		want                   flow.Headers
	}{
		"nothing": {nil, nil, nil, nil},
		"all": {[]string{valid}, []string{"a=1", "b=2"}, []string{"t=1"}, flow.Headers{
			parent, {Name: "tracestate", Value: "a=1,b=2"}, {Name: "baggage", Value: "t=1"}}},
		"a state without a parent": {nil, []string{"a=1"}, nil, nil},
		"two parents":              {[]string{valid, valid}, []string{"a=1"}, nil, nil},
		"an invalid parent":        {[]string{strings.ToUpper(valid)}, []string{"a=1"}, nil, nil},
		"no trace id":              {[]string{"00-" + strings.Repeat("0", 32) + valid[35:]}, nil, nil, nil},
		"too long": {[]string{valid}, []string{strings.Repeat("a", 513)}, []string{strings.Repeat("a", 8193)},
			flow.Headers{parent}},
		"control characters": {[]string{valid}, []string{"a=\n"}, []string{"a=\x7f"}, flow.Headers{parent}},
	} {
		if diff := cmp.Diff(test.want, traces.Outside(test.parent, test.state, test.baggage)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Set replaces a trace and leaves the slice of the caller alone.
func TestSet(t *testing.T) {
	old := flow.Headers{{Name: "a", Value: "1"}, {Name: "baggage", Value: "old"}, {Name: "traceparent", Value: "old"}}
	got := traces.Set(old, flow.Headers{{Name: "traceparent", Value: "new"}})
	want := flow.Headers{{Name: "a", Value: "1"}, {Name: "traceparent", Value: "new"}}
	if diff := cmp.Diff(want, got); diff != "" || old[2].Value != "old" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(old, traces.Set(old, nil)); diff != "" {
		t.Errorf("without a trace (-want +got):\n%s", diff)
	}
}
