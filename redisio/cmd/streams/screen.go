package main

import (
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// screen is the terminal while it shows frames: the alternate screen, without a cursor and without
// wrapping. The keyboard sends each key at once. close restores all of it; deferred, also after a
// panic.
type screen struct {
	out     *os.File
	in      *os.File // nil: the input is no terminal
	was     *term.State
	colors  bool
	restore func() // of the console's mode
}

const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
)

func openScreen(in io.Reader, out *os.File, env func(string) string) (*screen, error) {
	s := &screen{out: out, colors: env("NO_COLOR") == "", restore: enableEscapes(out)}
	if f, ok := in.(*os.File); ok && isTerminal(f) {
		was, err := term.MakeRaw(int(f.Fd()))
		if err != nil {
			s.restore()
			return nil, err
		}
		s.in, s.was = f, was
	}
	_, err := io.WriteString(out, enterScreen)
	return s, err
}

func (s *screen) close() {
	_, _ = io.WriteString(s.out, "\x1b[m"+leaveScreen) // the terminal may be gone
	if s.was != nil {
		_ = term.Restore(int(s.in.Fd()), s.was)
	}
	s.restore()
}

// size returns the window's columns and rows.
func (s *screen) size() [2]int {
	w, h, err := term.GetSize(int(s.out.Fd()))
	if err != nil || w < 1 || h < 1 {
		return [2]int{80, 24}
	}
	return [2]int{w, h}
}

var looks = [...]string{plain: "", heading: "\x1b[7m", faint: "\x1b[2m", alarming: "\x1b[31m"}

// draw shows as much of a frame as the window has room for, and the status line below.
func (s *screen) draw(f frame, status shown, size [2]int) error {
	var b strings.Builder
	b.WriteString("\x1b[H")
	room := size[1] - 1
	if len(f) > room && room > 0 {
		more := shown{plural(int64(len(f)-room+1), "more line", "more lines") + ": enlarge the window, hide details " +
			"with d, or use -once", faint}
		f = append(f[:room-1:room-1], more)
	}
	for i := range room {
		if i < len(f) {
			s.put(&b, f[i], size[0])
		}
		b.WriteString("\x1b[K\r\n")
	}
	s.put(&b, status, size[0])
	b.WriteString("\x1b[K\x1b[J")
	_, err := io.WriteString(s.out, b.String())
	return err
}

// put writes a line that is cut at the window's edge. Wide characters are cut by the terminal, which
// does not wrap.
func (s *screen) put(b *strings.Builder, l shown, width int) {
	text := l.text
	for i, n := 0, 0; i < len(text); n++ {
		if n == width {
			text = text[:i]
			break
		}
		_, size := utf8.DecodeRuneInString(text[i:])
		i += size
	}
	look := looks[l.tone]
	if !s.colors && l.tone != heading {
		look = ""
	}
	b.WriteString(look)
	b.WriteString(text)
	if look != "" {
		b.WriteString("\x1b[m")
	}
}

// keys sends the keys that are pressed, until the input ends. The last read may outlive the screen:
// a read of a terminal can't be interrupted.
func (s *screen) keys() <-chan byte {
	pressed := make(chan byte)
	if s.in == nil {
		return pressed
	}
	go s.guard(func() {
		var b [1]byte
		for {
			if n, err := s.in.Read(b[:]); err != nil || n == 0 {
				return
			}
			pressed <- b[0]
		}
	})
	return pressed
}

const (
	keyInterrupt = 3 // Ctrl-C
	resizeEvery  = 200 * time.Millisecond
)

// watch shows a view on the terminal until q or Ctrl-C.
func (o *topOptions) watch(c *call, v view, in io.Reader, out *os.File) error {
	ctx, stop := signal.NotifyContext(c.ctx, syscall.SIGHUP, syscall.SIGQUIT) // not to leave the screen behind
	defer stop()
	s, err := openScreen(in, out, c.std.env)
	if err != nil {
		return err
	}
	defer s.close()
	keys := s.keys()
	resize := time.NewTicker(resizeEvery)
	defer resize.Stop()
	next := time.NewTicker(o.every)
	defer next.Stop()
	read := make(chan error, 1)
	reading, changed, size := false, true, s.size()
	f, at := v.frame(o), time.Now()
	for {
		if changed {
			if err := s.draw(f, o.statusLine(at.In(c.out.zone), err), size); err != nil {
				return err
			}
		}
		changed = true
		select {
		case <-ctx.Done():
			return nil // the normal end of watching
		case <-next.C:
			if changed = false; !reading { // else the last one takes long
				reading = true
				go s.guard(func() { read <- o.read(ctx, c, v) })
			}
		case err = <-read:
			reading, at, f = false, time.Now(), v.frame(o)
		case key := <-keys:
			if key == 'q' || key == keyInterrupt {
				return nil
			}
			if changed = o.press(key); changed && !reading {
				f = v.frame(o)
			}
		case <-resize.C:
			now := s.size()
			changed, size = now != size, now
		}
	}
}

// guard runs a function on a goroutine of its own. It closes the screen before a panic ends the
// process.
func (s *screen) guard(do func()) {
	done := false
	defer func() {
		if !done {
			s.close()
		}
	}()
	do()
	done = true
}

// press changes what is shown, and reports whether it did.
func (o *topOptions) press(key byte) bool {
	if key == 'd' {
		o.fold = !o.fold
		return true
	}
	for _, name := range sortNames() {
		if name[0] == key {
			o.sort = name
			return true
		}
	}
	return false
}
