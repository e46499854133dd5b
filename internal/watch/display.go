package watch

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Printer writes a line per change, each once, with the time since the run's start.
type Printer struct {
	Out  io.Writer
	said map[string]bool
	// broken says that trouble with the connection was reported; its text changes with every try.
	broken bool
}

// Show implements Display.
func (p *Printer) Show(v View, now time.Time, connection string) {
	if p.said == nil {
		p.said = make(map[string]bool)
	}
	if broken := connection != ""; broken != p.broken {
		p.broken = broken
		if !broken {
			connection = "API server: connected again"
		}
		p.print(v, now, printable(connection))
	}
	var fresh []Fact
	for _, fact := range Facts(v, now) {
		if !p.said[fact.Key] {
			p.said[fact.Key] = true
			if fact.At.IsZero() {
				fact.At = now
			}
			fresh = append(fresh, fact)
		}
	}
	slices.SortStableFunc(fresh, func(a, b Fact) int { return a.At.Compare(b.At) })
	for _, fact := range fresh {
		p.print(v, fact.At, fact.Text)
	}
}

func (p *Printer) print(v View, at time.Time, text string) {
	fmt.Fprintf(p.Out, "%s  %s\n", clockTime(at.Sub(v.Start)), text)
}

// Every implements Display: nothing is said twice.
func (p *Printer) Every() time.Duration { return 0 }

// Close implements Display.
func (p *Printer) Close() {}

// Painter redraws a screen in place, below what was on the terminal before.
type Painter struct {
	Out   io.Writer
	Size  func() Size
	Color bool

	drawn int // rows on the terminal
	size  Size
}

const (
	hideCursor  = "\x1b[?25l"
	showCursor  = "\x1b[?25h"
	beginUpdate = "\x1b[?2026h" // the terminal shows all until endUpdate at once; others ignore it
	endUpdate   = "\x1b[?2026l"
	clearBelow  = "\x1b[J"
	clearLine   = "\x1b[K"
	clearAll    = "\x1b[2J\x1b[H"
)

// Show implements Display.
func (p *Painter) Show(v View, now time.Time, connection string) {
	var b strings.Builder
	b.WriteString(beginUpdate + hideCursor)
	size := p.Size()
	switch {
	case p.drawn > 0 && size != p.size:
		b.WriteString(clearAll) // the old rows were wrapped anew: nobody knows where they are
	case p.drawn > 0:
		fmt.Fprintf(&b, "\x1b[%dA", p.drawn)
	}
	rows := Screen(v, now, size, p.Color, connection)
	for _, row := range rows {
		b.WriteString("\r" + row + clearLine + "\n")
	}
	b.WriteString(clearBelow + endUpdate)
	p.drawn, p.size = len(rows), size
	// A terminal that is gone ends the program by its signal.
	_, _ = io.WriteString(p.Out, b.String())
}

// Every implements Display: times go on.
func (p *Painter) Every() time.Duration { return time.Second }

// Close implements Display.
func (p *Painter) Close() { _, _ = io.WriteString(p.Out, showCursor) }
