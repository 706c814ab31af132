package flow

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSupervisor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		sup := NewSupervisor(ctx)
		endless := func(name string) *Graph {
			src := newScript(1 << 30)
			src.every, src.perRead = time.Second, 1
			return New(name, To(src.source(), (&bag[int]{}).sink()))
		}
		for _, name := range []string{"a", "b", "c"} {
			if _, err := sup.Add(endless(name)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := sup.Add(endless("a")); !errors.Is(err, ErrRunning) {
			t.Errorf("a second a: %v", err)
		}
		if err := sup.Pause("nobody"); !errors.Is(err, ErrUnknownGraph) {
			t.Errorf("pause of nobody: %v", err)
		}
		if err := errors.Join(sup.Pause("a"), sup.Resume("a"), sup.Stop("b"), sup.Health()); err != nil {
			t.Error(err)
		}
		if _, err := sup.Drain(ctx, "c"); err != nil {
			t.Error(err)
		}
		if _, err := sup.Remove(ctx, "c"); err != nil {
			t.Error(err)
		}
		if d := cmp.Diff([]string{"a", "b"}, sup.Names()); d != "" {
			t.Error(d)
		}
		if _, err := sup.Add(endless("b")); err != nil { // its name is free again
			t.Error(err)
		}
		bad := newScript(1)
		bad.openErr = func() error { return Permanent(errBoom) }
		if _, err := sup.Add(New("bad", To(bad.source(), (&bag[int]{}).sink()))); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if err := sup.Health(); !errors.Is(err, errBoom) {
			t.Errorf("health %v", err)
		}
		if n := len(sup.Snapshot(ctx)); n != 3 {
			t.Errorf("%d snapshots", n)
		}
		if err := sup.Shutdown(ctx); !errors.Is(err, errBoom) {
			t.Errorf("shutdown %v", err)
		}
		if _, err := sup.Add(endless("late")); !errors.Is(err, ErrStopped) {
			t.Errorf("add after shutdown: %v", err)
		}
		if err := sup.Wait(); !errors.Is(err, errBoom) {
			t.Errorf("wait %v", err)
		}
	})
}
