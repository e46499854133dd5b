//go:build faults

package faults

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// report collects what the items of reliability.md came to.
var report = reporter{items: map[int]*item{}}

type reporter struct {
	mu    sync.Mutex
	items map[int]*item
}

// item is one item of the reliability bar: what was tried, how often, and how many of it passed.
type item struct {
	what          string
	tried, passed int
	notes         []string
	// longest durations, by what took them.
	longest map[string]time.Duration
	// counts of what happened beside, by what it is.
	counts map[string]int
}

// the items that must be there.
var wanted = []int{1, 2, 3, 5, 12, 13, 17, 18, 19, 20, 23, 24}

// tried records that an item was tried n times; all passed when err is nil, and none otherwise.
func (r *reporter) tried(t *testing.T, number, n int, err error) {
	t.Helper()
	passed := n
	if err != nil {
		t.Error(err)
		passed = 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.item(number)
	i.tried += n
	i.passed += passed
}

// describe says what an item tries.
func (r *reporter) describe(number int, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.item(number).what = fmt.Sprintf(format, args...)
}

// note adds a figure that was seen.
func (r *reporter) note(number int, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.item(number)
	i.notes = append(i.notes, fmt.Sprintf(format, args...))
}

// longest keeps the longest of a duration that was seen several times.
func (r *reporter) longest(number int, what string, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.item(number)
	if i.longest == nil {
		i.longest = map[string]time.Duration{}
	}
	i.longest[what] = max(i.longest[what], d)
}

// count counts one more of something that happened beside.
func (r *reporter) count(number int, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.item(number)
	if i.counts == nil {
		i.counts = map[string]int{}
	}
	i.counts[what]++
}

func (r *reporter) item(number int) *item {
	if r.items[number] == nil {
		r.items[number] = &item{}
	}
	return r.items[number]
}

// print prints a line per item, also to the file that FAULTS_REPORT names, and reports whether all passed and, unless
// somebody chose some only, every wanted item was tried.
func (r *reporter) print() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	var text strings.Builder
	good, chosen := true, flag.Lookup("test.run").Value.String() != ""
	for _, number := range wanted {
		if !chosen && r.items[number] == nil {
			good = false
			fmt.Fprintf(&text, "%2d  NOT TRIED\n", number)
		}
	}
	for _, number := range slices.Sorted(maps.Keys(r.items)) {
		i := r.items[number]
		verdict := "passed"
		if i.passed < i.tried || i.tried == 0 {
			verdict, good = "MISSED", false
		}
		fmt.Fprintf(&text, "%2d  %-6s  %5d of %5d  %s", number, verdict, i.passed, i.tried, i.what)
		notes := i.notes
		for _, what := range slices.Sorted(maps.Keys(i.longest)) {
			notes = append(notes, fmt.Sprintf("%s at most %.1f s", what, i.longest[what].Seconds()))
		}
		for _, what := range slices.Sorted(maps.Keys(i.counts)) {
			notes = append(notes, fmt.Sprintf("%d %s", i.counts[what], what))
		}
		if len(notes) > 0 {
			fmt.Fprintf(&text, " (%s)", strings.Join(notes, "; "))
		}
		text.WriteByte('\n')
	}
	fmt.Fprintf(&text, "The machine was up to %.1f times slower than idle, itself kept busy by this; limits were stretched by as much.\n", slowness.worst())
	fmt.Print(text.String())
	if file := os.Getenv("FAULTS_REPORT"); file != "" {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return false
		}
	}
	return good
}
