package jsonl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// collect gives "number:text" of each line.
func collect(r io.Reader) (lines []string, err error) {
	err = Lines(r, "f.jsonl", func(number int, line []byte) error {
		lines = append(lines, fmt.Sprintf("%d:%s", number, line))
		return nil
	})
	return lines, err
}

func TestLines(t *testing.T) {
	for text, want := range map[string]string{
		"":             "",
		"\n\n":         "",
		"a":            "1:a",
		"a\nb\n":       "1:a 2:b",
		"a\n\n  \nb":   "1:a 4:b",
		"a\r\n\r\nb\n": "1:a\r 3:b",
		"\ufeff":       "",
		"\ufeffa\nb":   "1:a 2:b",
		"a\n\ufeffb":   "1:a 2:\ufeffb",
	} {
		for name, r := range map[string]io.Reader{"at once": strings.NewReader(text), "byte by byte": iotest.OneByteReader(strings.NewReader(text))} {
			lines, err := collect(r)
			if got := strings.Join(lines, " "); err != nil || got != want {
				t.Errorf("%q %s: %q, %v, want %q", text, name, got, err, want)
			}
		}
	}
}

func TestLinesAreBounded(t *testing.T) {
	longest := strings.Repeat("x", MaxLine)
	lines, err := collect(strings.NewReader("a\n" + longest + "\nb"))
	if err != nil || len(lines) != 3 || lines[1] != "2:"+longest || lines[2] != "3:b" {
		t.Errorf("a line of the largest size: %d lines, %v", len(lines), err)
	}
	for _, text := range []string{"a\n\n" + longest + "x", "a\n\n" + longest + "x\nb\n"} {
		if _, err := collect(strings.NewReader(text)); err == nil || err.Error() != "f.jsonl:3: the line is longer than 4 MiB" {
			t.Errorf("error %v", err)
		}
	}
}

func TestLinesErrorsSayWhere(t *testing.T) {
	bad := errors.New("bad")
	err := Lines(strings.NewReader("a\n\nb\n"), "f.jsonl", func(number int, _ []byte) error {
		if number == 3 {
			return bad
		}
		return nil
	})
	if !errors.Is(err, bad) || err.Error() != "f.jsonl:3: bad" {
		t.Errorf("error %v", err)
	}
	broken := io.MultiReader(strings.NewReader("a\nb\nc"), iotest.ErrReader(bad))
	if _, err := collect(broken); !errors.Is(err, bad) || err.Error() != "f.jsonl: after line 2: bad" {
		t.Errorf("error %v", err)
	}
}

// numbered is a text of lines of various lengths, far more than one chunk.
func numbered(lines int) string {
	var b strings.Builder
	for k := range lines {
		fmt.Fprintf(&b, "%d %s\n", k+1, strings.Repeat("y", k*7919%5000))
	}
	return b.String()
}

func TestParallelKeepsTheOrder(t *testing.T) {
	text := numbered(1000)
	var out bytes.Buffer
	work := func() func(Chunk) (string, error) {
		return func(c Chunk) (string, error) {
			var b strings.Builder
			for number, line := range c.Lines() {
				if !bytes.HasPrefix(line, fmt.Appendf(nil, "%d ", number)) {
					return "", fmt.Errorf("line %d is %.20q", number, line)
				}
				fmt.Fprintf(&b, "%s\n", line)
			}
			return b.String(), nil
		}
	}
	err := Parallel(t.Context(), strings.NewReader(text), "f", 4, work, func(s string) error {
		out.WriteString(s)
		return nil
	})
	if err != nil || out.String() != text {
		t.Errorf("error %v, %d bytes of %d", err, out.Len(), len(text))
	}
}

// failAt makes a worker that fails at the given lines.
func failAt(lines ...int) func() func(Chunk) (int, error) {
	return func() func(Chunk) (int, error) {
		return func(c Chunk) (int, error) {
			for number := range c.Lines() {
				for _, bad := range lines {
					if number == bad {
						return 0, fmt.Errorf("line %d", number)
					}
				}
			}
			return 0, nil
		}
	}
}

func TestParallelGivesTheFirstErrorOfTheFile(t *testing.T) {
	ok := func(int) error { return nil }
	r := func() io.Reader { return strings.NewReader(numbered(1000)) }
	if err := Parallel(t.Context(), r(), "f", 4, failAt(900, 501, 700), ok); err == nil || err.Error() != "line 501" {
		t.Errorf("error %v", err)
	}
	stop := errors.New("stop")
	if err := Parallel(t.Context(), r(), "f", 4, failAt(), func(int) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error of emit: %v", err)
	}
	broken := io.MultiReader(r(), iotest.ErrReader(stop))
	if err := Parallel(t.Context(), broken, "f", 4, failAt(900), ok); err == nil || err.Error() != "line 900" {
		t.Errorf("a bad line before a read error: %v", err)
	}
	broken = io.MultiReader(r(), iotest.ErrReader(stop))
	if err := Parallel(t.Context(), broken, "f", 4, failAt(), ok); !errors.Is(err, stop) {
		t.Errorf("read error: %v", err)
	}
}

func TestParallelStopsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	endless := iotest.OneByteReader(io.MultiReader(strings.NewReader(numbered(500)), endlessLines{}))
	err := Parallel(ctx, endless, "f", 2, failAt(), func(int) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

type endlessLines struct{}

func (endlessLines) Read(p []byte) (int, error) {
	p[0] = '\n'
	return 1, nil
}

func TestChunksHoldWholeLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.StringMatching(`[a\n]{0,9}`), 0, 9).Draw(t, "lines"), "\n")
		chunks := chunkReader{r: iotest.HalfReader(strings.NewReader(text)), line: 1}
		var all []byte
		for {
			chunk, err := chunks.next(nil)
			if errors.Is(err, io.EOF) {
				break
			}
			if want := 1 + bytes.Count(all, []byte{'\n'}); err != nil || chunk.line != want {
				t.Fatalf("chunk at line %d, want %d, %v", chunk.line, want, err)
			}
			all = append(all, chunk.data...)
		}
		if string(all) != text {
			t.Fatalf("%q became %q", text, all)
		}
	})
}
