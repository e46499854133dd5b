package plan

import (
	"testing"

	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

const backOff = "ImagePullBackOff: Back-off pulling image \"runtime:1\""

// says makes the active child of a stage say something.
func (w *world) says(stage v1alpha1.StageName, o jobs.Outcome) {
	w.t.Helper()
	w.child(stage).Outcome = o
}

// TestStartupDeadline plays pods that cannot start: the reason at once, the failure at the deadline. Waiting does not count.
func TestStartupDeadline(t *testing.T) {
	stuck := jobs.Outcome{Message: backOff, Stuck: backOff}
	playTraces(t, []trace{
		{name: "startup-stuck-until-the-deadline", script: rising, play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			w.says(v1alpha1.StageTrain, stuck)
			w.step()
			w.remark("half an hour passes")
			w.pass(1798)
			w.step()
			w.step()
		}},
		{name: "startup-cured-before-the-deadline", script: rising, edit: iterations(1), play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			w.says(v1alpha1.StageTrain, stuck)
			w.step()
			w.pass(1700)
			w.remark("the image can be pulled again")
			w.says(v1alpha1.StageTrain, jobs.Outcome{})
			w.step()
			w.remark("and once more not: the time counts from the beginning")
			w.pass(1000)
			w.says(v1alpha1.StageTrain, stuck)
			w.step()
			w.pass(1700)
			w.step()
			w.settle()
		}},
		{name: "startup-stuck-and-suspended", script: rising, edit: iterations(1), play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			w.says(v1alpha1.StageTrain, stuck)
			w.step()
			w.run.Spec.Suspend = ptr.To(true)
			w.step()
			w.pass(7200)
			w.run.Spec.Suspend = ptr.To(false)
			w.step()
			w.says(v1alpha1.StageTrain, stuck)
			w.step()
			w.settle()
		}},
		{name: "startup-waiting-in-a-queue-does-not-count", script: rising, edit: iterations(1), play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			w.says(v1alpha1.StageTrain, jobs.Outcome{Queued: true, Message: "Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu."})
			w.step()
			w.pass(99999)
			w.step()
			w.settle()
		}},
	})
}

// TestStartupDeadlineOfABatch: the deadline is the run's, or half an hour for a batch that stands alone.
func TestStartupDeadlineOfABatch(t *testing.T) {
	for name, parent := range map[string]*Parent{
		"batch-stuck-until-the-deadline": nil, "batch-of-a-run-stuck-until-the-deadline": {Name: "first-run", StartupDeadlineSeconds: 2},
	} {
		t.Run(name, func(t *testing.T) {
			y := newBatchYard(t)
			y.parent = parent
			y.step()
			y.active(v1alpha1.StageTrack).Outcome = jobs.Outcome{Message: backOff, Stuck: backOff}
			y.step()
			wait := startup(parent)
			y.now = y.now.Add(wait / 2)
			y.step()
			y.now = y.now.Add(wait / 2)
			y.step()
			y.done(name)
		})
	}
}

// TestActiveDeadline plays runs with an hour of pods. Time suspended, queued or waiting for a person does not count.
func TestActiveDeadline(t *testing.T) {
	hour := func(more ...func(*v1alpha1.AlignmentRunSpec)) func(*v1alpha1.AlignmentRunSpec) {
		return func(s *v1alpha1.AlignmentRunSpec) {
			s.Iterations, s.ActiveDeadlineSeconds = 1, 3600
			for _, edit := range more {
				edit(s)
			}
		}
	}
	playTraces(t, []trace{
		{name: "deadline-exceeded", script: rising, edit: hour(), play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			w.remark("an hour passes")
			w.pass(3600)
			w.step()
		}},
		{name: "deadline-without-suspended-time", script: rising, edit: hour(), play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			w.pass(3000)
			w.run.Spec.Suspend = ptr.To(true)
			w.step()
			w.remark("a day passes")
			w.pass(86400)
			w.run.Spec.Suspend = ptr.To(false)
			w.step()
			w.remark("half an hour passes")
			w.pass(1800)
			w.step()
		}},
		{name: "deadline-without-queued-time", script: rising, edit: hour(), play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			w.says(v1alpha1.StageTrain, jobs.Outcome{Queued: true})
			w.step()
			w.remark("a day passes in the queue")
			w.pass(86400)
			w.settle()
		}},
		{name: "deadline-without-waiting-for-approval", script: rising, edit: hour(approval(v1alpha1.GatePair)), play: func(w *world) {
			w.asked()
			w.remark("a day passes")
			w.pass(86400)
			w.step()
			w.answer("good-morning", v1alpha1.DecisionApprove)
			w.settle()
		}},
	})
}

// TestQueues plays Jobs that a queue admits, late.
func TestQueues(t *testing.T) {
	queue := func(s *v1alpha1.AlignmentRunSpec) {
		s.Iterations, s.Scheduling = 1, &v1alpha1.SchedulingSpec{QueueName: "team-a"}
	}
	queued := jobs.Outcome{Queued: true, Message: "queue team-a has not admitted Job first-run"}
	playTraces(t, []trace{
		{name: "queue-admits-late", script: rising, edit: queue, play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			w.says(v1alpha1.StageTrain, queued)
			w.steps(3)
			w.remark("admitted")
			w.says(v1alpha1.StageTrain, jobs.Outcome{})
			w.step()
			w.settle()
		}},
		{name: "queue-while-another-stage-runs", script: rising, edit: queue, play: func(w *world) {
			w.until(1, v1alpha1.StageSample)
			w.says(v1alpha1.StageEvaluationSample, queued)
			w.steps(2)
			w.remark("iteration 1 goes on")
			for _, stage := range []v1alpha1.StageName{v1alpha1.StageSample, v1alpha1.StageScore} {
				w.succeed(w.child(stage))
				w.step()
			}
			w.settle()
		}},
		{name: "queue-none", script: rising, edit: iterations(1)},
	})
}
