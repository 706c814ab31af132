package conn

import (
	"testing"
)

func TestRedirectOf(t *testing.T) {
	for answer, want := range map[string]redirect{
		"MOVED 3999 127.0.0.1:6381":   {"127.0.0.1:6381", false},
		"ASK 3999 redis-2.local:6381": {"redis-2.local:6381", true},
		"MOVED 3999 :6381":            {"10.0.0.7:6381", false}, // the host of the node that says so
		"MOVED 3999 ?:6381":           {"10.0.0.7:6381", false},
		"MOVED 3999 fe80::1:6381":     {"[fe80::1]:6381", false},
		"MOVED 3999 [fe80::1]:6381":   {"[fe80::1]:6381", false},
		"MOVED 3999":                  {},
		"ASK 3999 nowhere":            {},
		"TRYAGAIN Multiple keys":      {},
		"ERR MOVED 3999 a:1":          {},
	} {
		got, ok := redirectOf(answer, "10.0.0.7:7000")
		if ok != (want.Addr != "") || ok && got != want {
			t.Errorf("%q: %+v, %t", answer, got, ok)
		}
	}
	if got, ok := redirectOf("MOVED 1 :6381", ""); ok {
		t.Errorf("to nowhere: %+v", got)
	}
}
