package watch

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/width"
)

// style of a span of text on a terminal.
type style string

const (
	plain style = ""
	bold  style = "\x1b[1m"
	dim   style = "\x1b[2m"
	red   style = "\x1b[31m"
	green style = "\x1b[32m"
	amber style = "\x1b[33m"
	blue  style = "\x1b[36m"
	reset       = "\x1b[0m"
)

type span struct {
	text  string
	style style
}

// line is what stands in one row; it is cut, never wrapped.
type line []span

func (l *line) add(s style, format string, args ...any) {
	*l = append(*l, span{fmt.Sprintf(format, args...), s})
}

// render cuts the line to a number of columns.
func (l line) render(columns int, color bool) string {
	var b strings.Builder
	for _, s := range l {
		text, cut := cutTo(s.text, columns)
		if color && s.style != plain {
			b.WriteString(string(s.style) + text + reset)
		} else {
			b.WriteString(text)
		}
		if cut {
			break
		}
		columns -= columnsOf(text)
	}
	return strings.TrimRight(b.String(), " ")
}

// cutTo leaves a text that fits as it is, and otherwise ends it with an ellipsis.
func cutTo(text string, columns int) (string, bool) {
	if columnsOf(text) <= columns {
		return text, false
	}
	used := 0
	for i, r := range text {
		if used += runeColumns(r); used > columns-1 {
			return text[:i] + "…", true
		}
	}
	return text, false
}

func columnsOf(text string) int {
	n := 0
	for _, r := range text {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	default:
		return 1
	}
}

// printable makes one line of a message that a container wrote, without control characters: an
// escape sequence in it must not reach the terminal.
func printable(message string) string {
	message = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, message)
	return strings.Join(strings.Fields(message), " ")
}

func bar(percentage int32, columns int) string {
	full := int(percentage) * columns / 100
	return strings.Repeat("█", full) + strings.Repeat("░", columns-full)
}

// short says a duration in at most two units: 8s, 1m42s, 2h05m, 3d04h.
func short(d time.Duration) string {
	d = max(d, 0).Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	}
}

// clockTime says how long after the start something was: 00:01:42, before it -00:00:01.
func clockTime(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	d = d.Round(time.Second)
	return fmt.Sprintf("%s%02d:%02d:%02d", sign, d/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second)
}

func plural(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
