package plan

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// everything is a script in which every policy has something to do: iteration 1 samples three rounds, iteration 3 is rejected,
// and both are evaluated on another GPU model than the best.
var everything = script{
	accuracy: []string{"0.35", "0.55", "0.75", "0.7", "0.9"}, pairs: map[int32]int64{1: 400, 2: 900, 3: 900, 4: 900},
	gpus: map[int32][]string{0: {"A100"}, 1: {"H100"}, 2: {"H100"}, 3: {"A100"}, 4: {"A100"}}, again: map[int32]string{1: "0.34", 3: "0.76"},
}

func everyPolicy(s *v1alpha1.AlignmentRunSpec) {
	s.Iterations = 4
	s.Pairing.OnShortfall, s.Pairing.MinPairs = v1alpha1.ShortfallResample, 900
	s.Acceptance.Confidence, s.Acceptance.GuardMetrics = "0.9", []v1alpha1.GuardMetric{{Name: "validFraction", MaxDrop: "0.1"}}
	s.Approval = &v1alpha1.ApprovalSpec{After: []v1alpha1.ApprovalGate{v1alpha1.GatePair, v1alpha1.GateEvaluate}}
	s.Prompts.Test = &v1alpha1.PromptSource{Generate: &v1alpha1.GeneratedPrompts{Count: 30, Seed: ptr.To(int64(3))}}
	s.Budget = &v1alpha1.BudgetSpec{GPUHours: "100", FirstIterationGPUHours: "0.001", OnExceeded: v1alpha1.BudgetSuspend}
	s.Scheduling = &v1alpha1.SchedulingSpec{QueueName: "team-a"}
	s.ActiveDeadlineSeconds = 10_000_000
}

// everyPolicyReserved has one reservation for the whole run beside everything else.
func everyPolicyReserved(s *v1alpha1.AlignmentRunSpec) {
	everyPolicy(s)
	s.Scheduling.Reservation = v1alpha1.ReservationRun
}

// outcome is what a run came to, without when and after how many attempts.
func outcome(s v1alpha1.AlignmentRunStatus) map[string]any {
	type iteration struct {
		Samples      *v1alpha1.ScoreSummary
		Resampled    []v1alpha1.ResampledRound
		Pairs        *v1alpha1.PairSummary
		Adapter      *v1alpha1.ArtifactReference
		Evaluation   *v1alpha1.ScoreSummary
		Comparison   *v1alpha1.Comparison
		Reevaluation *v1alpha1.Reevaluation
		Decision     *v1alpha1.Decision
		Lineage      *v1alpha1.ArtifactReference
	}
	var iterations []iteration
	for _, it := range s.Iterations {
		iterations = append(iterations, iteration{it.Samples, it.Resampled, it.Pairs, it.Adapter, it.Evaluation, it.Comparison, it.Reevaluation, it.Decision, it.Lineage})
	}
	return map[string]any{"phase": s.Phase, "best": s.Best, "test": s.Test, "prompts": s.Prompts, "iterations": iterations}
}

// undisturbedOutcome is what a run comes to when nothing gets in its way.
func undisturbedOutcome(t *testing.T, s script, edit func(*v1alpha1.AlignmentRunSpec)) map[string]any {
	t.Helper()
	w := newWorld(t, s)
	edit(&w.run.Spec)
	if Reserves(w.run.Spec.Scheduling) {
		w.kueue = &kueue{prompt: true}
	}
	w.settleWhile(func() bool {
		if w.run.Status.PendingApproval != nil {
			w.answer("yes", v1alpha1.DecisionApprove)
		}
		return !Ended(w.run.Status.Conditions)
	})
	return outcome(w.run.Status)
}

// fate is what happens to a world at random.
type fate struct {
	*world
	*rand.Rand
}

func newFate(t *testing.T, seed uint64, s script, edit func(*v1alpha1.AlignmentRunSpec)) fate {
	f := fate{newWorld(t, s), rand.New(rand.NewPCG(seed, 7))}
	edit(&f.run.Spec)
	f.forgets = func() bool { return f.IntN(3) == 0 }
	f.lingers = func() bool { return f.IntN(2) == 0 }
	if Reserves(f.run.Spec.Scheduling) {
		f.kueue = &kueue{}
	}
	return f
}

// strike lets one thing happen.
func (f fate) strike() {
	switch f.IntN(12) {
	case 0:
		f.run.Spec.Suspend = ptr.To(f.IntN(3) == 0)
	case 1:
		if f.run.Spec.Budget != nil { // too little, or enough again
			f.run.Spec.Budget.GPUHours = []v1alpha1.Decimal{"0.01", "0.5", "99999"}[f.IntN(3)]
		}
	case 2:
		f.children = slices.DeleteFunc(f.children, func(c *Child) bool { return c.Deleting && f.charged(c) })
	case 3:
		f.pass(int64(f.IntN(300))) // the operator is away
	case 4:
		if f.run.Status.PendingApproval != nil {
			f.answer("late", v1alpha1.DecisionApprove)
		}
	default:
		f.strikeChild()
	}
}

// strikeKueue lets something happen to a reservation.
func (f fate) strikeKueue() {
	if f.kueue == nil || f.kueue.workload == nil {
		return
	}
	switch f.IntN(20) {
	case 0:
		if f.kueue.admitted() {
			f.takeBack("Preempted", "somebody else needs it")
		}
	case 1:
		f.remark("somebody deletes the Workload")
		f.kueue.workload = nil
	case 2:
		f.run.Spec.Scheduling = f.run.Spec.Scheduling.DeepCopy()
		f.run.Spec.Scheduling.QueueName = []v1alpha1.QueueName{"team-a", "team-b"}[f.IntN(2)]
	case 3, 4, 5, 6:
		f.admitAll()
	}
}

// strikeChild lets something happen to a child that has not ended. Nobody deletes what an operator that was killed had not
// recorded: docs/adr/0004.
func (f fate) strikeChild() {
	active := slices.DeleteFunc(f.active(), func(c *Child) bool { return c.Deleting })
	if len(active) == 0 {
		return
	}
	c := active[f.IntN(len(active))]
	switch n := f.IntN(20); {
	case n < 10:
		f.succeed(c)
	case n < 12 && f.failures(c) < 2:
		c.Outcome = jobs.Outcome{State: jobs.Failed, Class: "Bug", Message: "it broke"}
	case n == 12 && f.failures(c) < 2:
		c.Outcome = interrupted
	case n == 13:
		c.Outcome = disrupted
	case n == 14:
		c.Outcome = lost
	case n == 15:
		c.Outcome = jobs.Outcome{Message: backOff, Stuck: backOff}
	case n == 16:
		c.Outcome = jobs.Outcome{Queued: true, Message: "queue team-a has not admitted it"}
	case n == 17:
		c.Outcome = jobs.Outcome{}
	case !f.known(c):
	case n == 18:
		f.remove(c.Object.GetName())
	default:
		c.Deleting = true // somebody else deletes it, and its pods take their time
	}
}

// known says that the record names the child and its GPU, if it holds one: of a pod that came and went while nobody looked,
// nobody can tell.
func (f fate) known(c *Child) bool {
	rec := f.recordOf(c)
	return rec != nil && rec.Child == c.Object.GetName() && f.charged(c)
}

// charged says that what the child used is charged, or will be when it is gone.
func (f fate) charged(c *Child) bool {
	if !f.holdsGPU(c) || f.used[c.Object.GetName()] == 0 {
		return true
	}
	rec := f.recordOf(c)
	return rec != nil && slices.ContainsFunc(rec.Usage, func(u v1alpha1.GPUUsage) bool {
		return u.GPUs > 0 && strings.HasPrefix(u.Name, c.Object.GetName())
	})
}

func (f fate) failures(c *Child) int32 {
	if rec := f.recordOf(c); rec != nil {
		return rec.Failures
	}
	return 0
}

func (f fate) recordOf(c *Child) *v1alpha1.StageStatus {
	for i := range f.run.Status.Iterations {
		if it := &f.run.Status.Iterations[i]; *it.Iteration == c.Place.Iteration {
			return stageRecord(it.Stages, c.Place.Stage, c.Place.Round)
		}
	}
	return nil
}

// TestChaosEndsLikeAnUndisturbedRun: whatever happens meanwhile, under all policies at once, a run comes to the same in the end.
func TestChaosEndsLikeAnUndisturbedRun(t *testing.T) {
	for name, edit := range map[string]func(*v1alpha1.AlignmentRunSpec){
		"defaults": func(*v1alpha1.AlignmentRunSpec) {}, "every policy": everyPolicy, "every policy, reserved": everyPolicyReserved,
	} {
		t.Run(name, func(t *testing.T) {
			want := undisturbedOutcome(t, everything, edit)
			for seed := range uint64(8) {
				f := newFate(t, seed, everything, edit)
				for passes := 0; !Ended(f.run.Status.Conditions); passes++ {
					if passes > 20_000 {
						t.Fatalf("seed %d: the run does not end:\n%s", seed, f.trace.String())
					}
					f.step()
					f.strike()
					f.strike()
					f.strikeKueue()
				}
				if diff := cmp.Diff(want, outcome(f.run.Status)); diff != "" {
					t.Fatalf("seed %d: the end differs from an undisturbed run's:\n%s\n%s", seed, diff, f.trace.String())
				}
			}
		})
	}
}
