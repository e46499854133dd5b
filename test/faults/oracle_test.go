//go:build faults

package faults

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// The oracle bites: each history that breaks a rule is complained of, and one that breaks none is not.
func TestOracle(t *testing.T) {
	t.Parallel()
	train := jobs.Place{Iteration: 1, Stage: v1alpha1.StageTrain}
	again := jobs.Place{Iteration: 1, Stage: v1alpha1.StageTrain, Attempt: 1}
	for name, c := range map[string]struct {
		play func(*story)
		want string
	}{
		"a stage runs once": {func(s *story) {
			s.job(train, "a")
			s.status(v1alpha1.StageSucceeded, 0, "a")
		}, ""},
		"a failed attempt is followed by another": {func(s *story) {
			s.job(train, "a")
			s.status(v1alpha1.StageRunning, 0, "a")
			s.job(again, "b")
			s.status(v1alpha1.StageSucceeded, 1, "b")
		}, ""},
		"an attempt has two Jobs": {func(s *story) {
			s.job(train, "a")
			s.job(train, "b")
		}, "two children"},
		"a stage is repeated after it was recorded": {func(s *story) {
			s.job(train, "a")
			s.status(v1alpha1.StageSucceeded, 0, "a")
			s.job(again, "b")
		}, "created after its stage was recorded"},
		"a record goes backwards": {func(s *story) {
			s.job(train, "a")
			s.status(v1alpha1.StageSucceeded, 0, "a")
			s.status(v1alpha1.StageRunning, 0, "a")
		}, "Succeeded became Running"},
		"an attempt goes backwards": {func(s *story) {
			s.job(train, "a")
			s.job(again, "b")
			s.status(v1alpha1.StageRunning, 1, "b")
			s.status(v1alpha1.StageRunning, 0, "a")
		}, "attempt 1 became 0"},
		"somebody else's child is named": {func(s *story) {
			s.status(v1alpha1.StageRunning, 0, "foreign")
		}, "was not created for it"},
		"a phase goes backwards": {func(s *story) {
			s.write(func(r *v1alpha1.AlignmentRunStatus) { r.Phase = v1alpha1.PhaseSucceeded })
			s.write(func(r *v1alpha1.AlignmentRunStatus) { r.Phase = v1alpha1.PhaseRunning })
		}, "Succeeded became Running"},
		"an iteration is left out": {func(s *story) {
			s.write(func(*v1alpha1.AlignmentRunStatus) {})
			s.write(func(r *v1alpha1.AlignmentRunStatus) {
				for _, k := range []int32{0, 1, 3} {
					r.Iterations = append(r.Iterations, v1alpha1.IterationStatus{Iteration: ptr.To(k)})
				}
			})
		}, "iteration 1 is followed by 3"},
		"GPU time is forgotten": {func(s *story) {
			s.write(func(r *v1alpha1.AlignmentRunStatus) { r.GPUSeconds = 9 })
			s.write(func(r *v1alpha1.AlignmentRunStatus) { r.GPUSeconds = 8 })
		}, "GPU time fell"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &story{history: emptyHistory(), run: alignmentRun("somewhere", runName, 1)}
			s.run.UID = "u"
			c.play(s)
			err := s.history.judge(s.run)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("the oracle says %v, want %q", err, c.want)
			}
		})
	}
}

// story tells a history, one event after the other.
type story struct {
	history *history
	run     *v1alpha1.AlignmentRun
	version int
}

func (s *story) next() string {
	s.version++
	return strings.Repeat("1", s.version) // versions rise
}

// job is the creation of a Job of the run.
func (s *story) job(place jobs.Place, uid types.UID) {
	owner := jobs.Owner{Kind: "AlignmentRun", Namespace: s.run.Namespace, Name: s.run.Name, UID: s.run.UID, Run: s.run.Name}
	job := &batchv1.Job{ObjectMeta: jobs.Meta(owner, place)}
	job.Name, job.UID, job.ResourceVersion = string(uid), uid, s.next()
	s.history.saw(nil, job)
}

// write is a change of the run's status.
func (s *story) write(change func(*v1alpha1.AlignmentRunStatus)) {
	before := s.run.DeepCopy()
	change(&s.run.Status)
	s.run.ResourceVersion = s.next()
	s.history.saw(before, s.run.DeepCopy())
}

// status records the training of iteration 1.
func (s *story) status(state v1alpha1.StageState, attempt int32, child string) {
	s.write(func(r *v1alpha1.AlignmentRunStatus) {
		now := metav1.Now()
		r.Iterations = []v1alpha1.IterationStatus{{Iteration: ptr.To(int32(1)), Stages: []v1alpha1.StageStatus{
			{Name: v1alpha1.StageTrain, State: state, Attempt: &attempt, Child: child, StartTime: &now},
		}}}
	})
}
