package figures

import (
	"cmp"
	"slices"
	"testing"
	"time"
)

var start = time.Unix(1_800_000_000, 0)

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

// job of one pod that ran a second after it was scheduled.
func job(owner Stage, gpus int64, created, scheduled, ended int) Job {
	return Job{Owner: owner, Created: at(created), Pods: []Pod{{GPUs: gpus, Scheduled: at(scheduled), Running: at(scheduled + 1), Ended: at(ended)}}}
}

// crowd is two runs on two GPUs: the first trains from 5 to 25, beside its baseline, and is evaluated from 30 to 50; the second,
// created with it, waits until 25 for the GPU that it has for five seconds.
func crowd() Crowd {
	return Crowd{GPUs: 2, Runs: []Run{
		{Created: at(0), Ended: at(60), Jobs: []Job{
			job(Stage{0, "Prepare"}, 0, 0, 1, 4),
			job(Stage{1, "Train"}, 1, 4, 5, 25),
			job(Stage{0, "EvaluationSample"}, 1, 4, 5, 10),
			job(Stage{1, "EvaluationSample"}, 1, 25, 30, 50),
			job(Stage{1, "Compare"}, 0, 50, 51, 54),
		}},
		{Created: at(0), Ended: at(40), Jobs: []Job{
			job(Stage{0, "Prepare"}, 0, 0, 1, 4),
			job(Stage{1, "Train"}, 1, 4, 25, 30),
		}},
	}}
}

func TestGPUTime(t *testing.T) {
	c := crowd()
	if got := c.Busy(); got != 50*time.Second {
		t.Errorf("GPUs were held for %s, want 50s", got)
	}
	if got := c.Computing(); got != 46*time.Second {
		t.Errorf("containers had them for %s, want 46s", got)
	}
	if got := c.Utilisation(); got != 50.0/120 {
		t.Errorf("utilisation %v, want 50 of 120 s", got)
	}
}

func TestTheBoundIsWhatLastsLonger(t *testing.T) {
	c := crowd()
	if got := c.Chain(); got != 46*time.Second {
		t.Errorf("the longest chain takes %s, want 3 + 20 + 20 + 3 s", got)
	}
	if got := c.Bound(); got != 46*time.Second {
		t.Errorf("bound %s, want the chain's", got)
	}
	c.Runs = append(c.Runs, Run{Created: at(0), Ended: at(60), Jobs: []Job{job(Stage{1, "Train"}, 2, 0, 0, 60)}})
	if got := c.Bound(); got != 85*time.Second {
		t.Errorf("bound %s, want 170 s of GPU time on two GPUs", got)
	}
}

func TestWaiting(t *testing.T) {
	c := crowd()
	if got := c.Waits(); got[0] != (2+2+2+6+2)*time.Second || got[1] != (2+22)*time.Second {
		t.Errorf("waits %v", got)
	}
	// Each stage on GPUs from the end of the one before: baseline, training, evaluation; and the other run's training.
	if got := c.Delays(); !slices.Equal(got, []time.Duration{2 * time.Second, 2 * time.Second, 6 * time.Second, 22 * time.Second}) {
		t.Errorf("delays %v", got)
	}
	if mean, longest := Mean([]time.Duration{time.Second, 3 * time.Second}); mean != 2*time.Second || longest != 3*time.Second {
		t.Errorf("mean %s, longest %s", mean, longest)
	}
}

func TestBetweenStages(t *testing.T) {
	c := crowd()
	// Pods without a GPU are no stages on GPUs; those that run beside each other leave no pause.
	if got := c.Pauses(); got[0] != 6*time.Second || got[1] != 0 {
		t.Errorf("pauses %v", got)
	}
	if got := c.Starts(); got[0] != 6*time.Second || got[1] != 26*time.Second {
		t.Errorf("starts %v", got)
	}
	if got := c.Lengths(); got[0] != 54*time.Second || got[1] != 14*time.Second {
		t.Errorf("lengths %v", got)
	}
}

// Twenty runs of five stages, each of ten seconds on a GPU, share four GPUs. Whose turn it is, a rule says.
func TestStarvation(t *testing.T) {
	fair := func(a, b waiting) int { return a.since - b.since }
	tests := []struct {
		name string
		// first of two stages that wait gets the GPU that is free.
		first func(a, b waiting) int
		// forgotten is since when the last run may have a GPU at all, while GPUs are free.
		forgotten int
		// waits, from Job to pod and summed per run, and delays of single stages: who has starved by them.
		waits, delays bool
	}{
		{"who waits longest is first", fair, 0, false, false},
		{"a run whose turn nobody thinks of", fair, 2000, true, true},
		// What a run waits in all is bounded by what all others take together, for which they wait as well. The stages tell.
		{"a run that all others overtake", func(a, b waiting) int { return cmp.Or(a.run/19-b.run/19, fair(a, b)) }, 0, false, true},
		{"who came last is first", func(a, b waiting) int { return fair(b, a) }, 0, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := schedule(tt.first, tt.forgotten)
			for _, of := range []struct {
				name    string
				list    []time.Duration
				starved bool
			}{{"waits", c.Waits(), tt.waits}, {"delays", c.Delays(), tt.delays}} {
				if mean, longest := Mean(of.list); Starved(of.list) != of.starved {
					t.Errorf("%s: the longest is %s, the mean %s: starved is %t, want %t", of.name, longest, mean, !of.starved, of.starved)
				}
			}
		})
	}
}

// waiting is the next stage of a run, and the second since when it waits.
type waiting struct{ run, stage, since int }

// schedule gives four GPUs, second by second, to the stages of 20 runs that wait.
func schedule(first func(a, b waiting) int, forgotten int) Crowd {
	const runs, gpus, lasts = 20, 4, 10
	row := rows[1]
	c := Crowd{GPUs: gpus, Runs: make([]Run, runs)}
	var line []waiting
	for i := range c.Runs {
		c.Runs[i].Created = at(0)
		line = append(line, waiting{run: i})
	}
	busy := map[int][]waiting{} // those that end then
	for now, free, left := 0, gpus, runs*len(row); left > 0; now++ {
		for _, w := range busy[now] {
			free, left = free+1, left-1
			if w.stage+1 < len(row) {
				line = append(line, waiting{w.run, w.stage + 1, now})
			}
		}
		slices.SortStableFunc(line, first)
		line = slices.DeleteFunc(line, func(w waiting) bool {
			if free == 0 || w.run == runs-1 && now < forgotten {
				return false
			}
			r := &c.Runs[w.run]
			r.Jobs = append(r.Jobs, Job{row[w.stage], at(w.since), []Pod{{1, at(now), at(now), at(now + lasts)}}})
			r.Ended = at(now + lasts)
			busy[now+lasts] = append(busy[now+lasts], w)
			free--
			return true
		})
	}
	return c
}
