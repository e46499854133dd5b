package figures

import (
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
	// The first: before it ran, between its stages, and to its end. Two pods at the same time are no idle time.
	if got := c.Idle(); got[0] != (2+2+6+2+6)*time.Second || got[1] != (2+22+10)*time.Second {
		t.Errorf("idle %v", got)
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
