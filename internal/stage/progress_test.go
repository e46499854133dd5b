package stage

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spatialalign/operator/internal/contract"
)

// clock is a time that the test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time          { return c.t }
func (c *clock) forward(d time.Duration) { c.t = c.t.Add(d) }

func newTestProgress() (*clock, *Progress) {
	c := &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	return c, newProgress(c.now, time.Minute)
}

// get asks the progress server.
func get(t *testing.T, p *Progress, path string) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	p.handler(contract.Train).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestProgress(t *testing.T) {
	clock, p := newTestProgress()
	check := func(when string, want contract.Progress) {
		t.Helper()
		_, body := get(t, p, "/progress")
		var got contract.Progress
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	check("before it starts", contract.Progress{})

	p.Total(10, "samples")
	check("when it starts", contract.Progress{Total: 10, Unit: "samples"})

	p.Skip(4)
	check("what was there already says nothing about speed",
		contract.Progress{Done: 4, Total: 10, Unit: "samples", ProgressPercentage: 40})

	clock.forward(6 * time.Second)
	p.Add(2)
	p.Metric("loss", 0.61)
	p.Metric("margin", math.NaN())
	p.Checkpoint()
	check("two of the rest took six seconds", contract.Progress{
		Done: 6, Total: 10, Unit: "samples", ProgressPercentage: 60, EstimatedRemainingSeconds: 12,
		Metrics: []contract.Metric{{Name: "loss", Value: "0.61"}}, LastCheckpointTime: "2026-01-02T03:04:11Z",
	})

	p.Add(4)
	p.Metric("loss", math.Inf(1))
	check("when all is done", contract.Progress{
		Done: 10, Total: 10, Unit: "samples", ProgressPercentage: 100, LastCheckpointTime: "2026-01-02T03:04:11Z",
	})
}

func TestHealth(t *testing.T) {
	steps := map[string]func(p *Progress){
		"Total":      func(p *Progress) { p.Total(1, "steps") },
		"Add":        func(p *Progress) { p.Add(1) },
		"Skip":       func(p *Progress) { p.Skip(1) },
		"Checkpoint": func(p *Progress) { p.Checkpoint() },
	}
	for name, step := range steps {
		t.Run(name+" is a heartbeat", func(t *testing.T) {
			clock, p := newTestProgress()
			want := func(when string, status int) {
				t.Helper()
				if got, body := get(t, p, "/healthz"); got != status {
					t.Errorf("%s: status %d (%s), want %d", when, got, body, status)
				}
			}
			want("at the start", http.StatusOK)
			clock.forward(time.Minute)
			want("after the heartbeat time", http.StatusOK)
			clock.forward(time.Second)
			want("after more", http.StatusServiceUnavailable)
			step(p)
			want("after a step", http.StatusOK)
		})
	}
}

func TestMetrics(t *testing.T) {
	clock, p := newTestProgress()
	p.Total(120, "steps")
	p.Add(30)
	p.Metric("loss", 0.61)
	clock.forward(2 * time.Second)
	_, body := get(t, p, "/metrics")
	for _, want := range []string{
		`spatialalign_stage_done{stage="train",unit="steps"} 30`,
		`spatialalign_stage_total{stage="train",unit="steps"} 120`,
		`spatialalign_stage_last_step_age_seconds{stage="train"} 2`,
		`spatialalign_stage_metric{name="loss",stage="train"} 0.61`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("%s is not in\n%s", want, body)
		}
	}
}
