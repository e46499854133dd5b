package plan

import (
	"testing"

	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// TestReservations plays runs that reserve for all their stages at once.
func TestReservations(t *testing.T) {
	const taken = "Preempted to accommodate a workload (UID: 1) due to reclamation within the cohort"
	training := func(w *world) {
		w.withKueue()
		w.until(1, v1alpha1.StageTrain)
	}
	playTraces(t, []trace{
		{name: "reservation", script: rising, edit: iterations(1), play: func(w *world) {
			w.withKueue()
			w.settle()
			w.remark("a minute later")
			w.pass(60)
			w.step()
		}},
		{name: "reservation-waits", script: rising, edit: func(s *v1alpha1.AlignmentRunSpec) { s.Iterations, s.ActiveDeadlineSeconds = 1, 3600 }, play: func(w *world) {
			w.withKueue().prompt = false
			w.step()
			w.succeed(w.child(v1alpha1.StagePrepare))
			w.steps(2)
			w.kueue.conditions([4]string{"QuotaReserved", "False", "Pending", "insufficient unused quota for nvidia.com/gpu in flavor h100, 2 more needed"})
			w.step()
			w.remark("a day passes, which is no active time")
			w.pass(86400)
			w.step()
			w.admitAll()
			w.settle()
		}},
		{name: "reservation-preempted", script: rising, edit: func(s *v1alpha1.AlignmentRunSpec) { s.Iterations, s.Retries = 1, ptr.To(int32(0)) }, play: func(w *world) {
			training(w)
			w.kueue.prompt = false
			w.lingers = func() bool { return true }
			w.takeBack("Preempted", taken)
			w.steps(2)
			w.remark("its pods are gone")
			w.gone()
			w.steps(2)
			w.admitAll()
			w.settle()
		}},
		{name: "reservation-preempted-while-a-batch-tracks", script: rising, edit: iterations(1), play: func(w *world) {
			w.withKueue()
			w.until(1, v1alpha1.StageScore)
			w.takeBack("Preempted", taken)
			w.settle()
		}},
		{name: "reservation-deactivated", script: rising, edit: iterations(1), play: func(w *world) {
			training(w)
			w.kueue.prompt = false
			w.kueue.workload.Object["spec"].(map[string]any)["active"] = false
			w.takeBack("Deactivated", "The workload is deactivated")
			w.steps(3)
			w.remark("somebody activates it again")
			w.kueue.workload.Object["spec"].(map[string]any)["active"] = true
			w.admitAll()
			w.settle()
		}},
		{name: "reservation-deleted", script: rising, edit: iterations(1), play: func(w *world) {
			training(w)
			w.remark("somebody deletes the Workload")
			w.kueue.workload = nil
			w.settle()
		}},
		{name: "reservation-suspended", script: rising, edit: iterations(1), play: func(w *world) {
			training(w)
			w.lingers = func() bool { return true }
			w.run.Spec.Suspend = ptr.To(true)
			w.steps(2)
			w.remark("its pods are gone")
			w.gone()
			w.steps(2)
			w.run.Spec.Suspend = nil
			w.settle()
		}},
		{name: "reservation-asked-for-anew", script: rising, edit: iterations(1), play: func(w *world) {
			training(w)
			w.remark("another queue, while nobody looks")
			w.run.Spec.Scheduling = w.run.Spec.Scheduling.DeepCopy()
			w.run.Spec.Scheduling.QueueName = "more-gpus"
			w.settle()
		}},
		{name: "reservation-while-a-person-is-asked", script: rising, edit: func(s *v1alpha1.AlignmentRunSpec) {
			s.Iterations, s.Approval = 1, &v1alpha1.ApprovalSpec{After: []v1alpha1.ApprovalGate{v1alpha1.GatePair}}
		}, play: func(w *world) {
			w.withKueue()
			w.asked()
			w.steps(2)
			w.answer("yes", v1alpha1.DecisionApprove)
			w.settle()
		}},
		{name: "reservation-and-a-spent-budget", script: rising, edit: budget("1.5", ""), play: func(w *world) {
			training(w)
			w.remark("training takes two hours")
			w.pass(7200)
			w.steps(3)
			w.raise("9")
			w.run.Spec.Iterations = 1
			w.settle()
		}},
		{name: "reservation-and-policy", script: rising, edit: iterations(1), play: func(w *world) {
			training(w)
			w.remark("the runtime lists another namespace only")
			w.runtime.Spec.AllowedNamespaces = []string{"team-b"}
			w.steps(2)
			w.remark("what runs ends")
			w.succeed(w.child(v1alpha1.StageTrain))
			w.steps(3)
			w.remark("the runtime lists the namespace again")
			w.runtime.Spec.AllowedNamespaces = []string{"team-a"}
			w.settle()
		}},
		{name: "reservation-where-kueue-queues-all-jobs", script: rising, edit: iterations(1), play: func(w *world) {
			w.withKueue()
			w.until(1, v1alpha1.StageSample)
			w.says(v1alpha1.StageSample, jobs.Outcome{Queued: true, QueueReason: v1alpha1.ReasonQueueForced, Message: "Kueue has suspended it"})
			w.steps(4)
			w.remark("the namespace is exempt now, and the Job deleted")
			w.remove(w.child(v1alpha1.StageSample).Object.GetName())
			w.settle()
		}},
		{name: "reservation-and-a-queue-that-takes-all", script: rising, edit: iterations(1), play: func(w *world) {
			training(w)
			w.remark("somebody makes a LocalQueue that takes in the run's Jobs: what runs ends, nothing else begins")
			w.kueue.takes = "Kueue puts every Job into LocalQueue default"
			w.steps(2)
			w.succeed(w.child(v1alpha1.StageTrain))
			w.step()
			w.succeed(w.child(v1alpha1.StageEvaluationPrepare))
			w.steps(3)
			w.remark("it is deleted")
			w.kueue.takes = ""
			w.settle()
		}},
		{name: "reservation-without-kueue", script: rising, edit: iterations(1), play: func(w *world) {
			w.withKueue().absent = true
			w.step()
			w.succeed(w.child(v1alpha1.StagePrepare))
			w.steps(3)
			w.remark("Kueue is installed")
			w.kueue.absent = false
			w.settle()
		}},
		{name: "reservation-of-claimed-devices", script: rising, edit: iterations(1), play: func(w *world) {
			w.withKueue()
			w.runtime.Spec.Track.ResourceClaims = []v1alpha1.StageResourceClaim{{Name: "gpu", ResourceClaimTemplateName: "one", GPUs: ptr.To(int32(1))}}
			w.step()
			w.succeed(w.child(v1alpha1.StagePrepare))
			w.steps(3)
			w.remark("suspended, and reserved by stage")
			w.run.Spec.Suspend = ptr.To(true)
			w.step()
			w.run.Spec.Scheduling, w.run.Spec.Suspend = &v1alpha1.SchedulingSpec{QueueName: "gpus"}, nil
			w.kueue = nil
			w.related.Reservation = nil
			w.settle()
		}},
	})
}

// The pods of a run stay within what was admitted, and go to its nodes; those of stages without GPUs go anywhere.
func TestPodsKeepWithinTheReservation(t *testing.T) {
	w := newWorld(t, rising)
	w.withKueue().prompt = false
	w.step()
	w.succeed(w.child(v1alpha1.StagePrepare))
	w.step()
	w.admit(2)
	w.step()
	parallelism, nodes, reservation := w.startedIn(v1alpha1.StageEvaluationSample)
	if parallelism != 2 || nodes["example.com/gpu"] != "h100" || reservation != w.kueue.workload.GetName() {
		t.Errorf("%d pods on %v under %q", parallelism, nodes, reservation)
	}
	w.until(1, v1alpha1.StageTrain)
	if parallelism, nodes, _ = w.startedIn(v1alpha1.StageTrain); parallelism != 1 || nodes["example.com/gpu"] != "h100" {
		t.Errorf("the training has %d pods on %v", parallelism, nodes)
	}
	w.until(1, v1alpha1.StageCompare)
	if _, nodes, reservation = w.startedIn(v1alpha1.StageCompare); len(nodes) > 0 || reservation != "" {
		t.Errorf("a CPU stage goes to %v under %q", nodes, reservation)
	}
}

// While nobody can tell what Kueue says, what runs goes on, nothing starts, and nothing is given back.
func TestReservationThatCannotBeRead(t *testing.T) {
	for name, blind := range map[string]func(*kueue) *jobs.Reservation{
		"forbidden": func(*kueue) *jobs.Reservation {
			return &jobs.Reservation{Version: "v1beta2", Queue: jobs.Queue{Trouble: "workloads is forbidden"}}
		},
		"Kueue is gone": func(*kueue) *jobs.Reservation { return &jobs.Reservation{Queue: jobs.Queue{Absent: true}} },
		"it is admitted in the words of another version": func(k *kueue) *jobs.Reservation {
			k.workload.Object["status"].(map[string]any)["admission"] = map[string]any{"grants": []any{}}
			return k.seen()
		},
		"it is in no words that are known": func(k *kueue) *jobs.Reservation {
			k.workload.Object["status"].(map[string]any)["conditions"] = "Admitted"
			return k.seen()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, rising)
			w.withKueue()
			w.until(1, v1alpha1.StageSample)
			w.related.Reservation = blind(w.kueue)
			if next := Run(w.base(), w.run, w.related); len(next.Create)+len(next.Delete) > 0 || next.GiveBack != nil {
				t.Errorf("creates %d, deletes %d", len(next.Create), len(next.Delete))
			}
			w.succeed(w.child(v1alpha1.StageSample))
			next := Run(w.base(), w.run, w.related)
			if len(next.Create)+len(next.Delete) > 0 || next.RequeueAfter == 0 {
				t.Errorf("creates %d, deletes %d, looks again after %s", len(next.Create), len(next.Delete), next.RequeueAfter)
			}
		})
	}
}

// A batch of such a run tracks within its reservation, and not without.
func TestReservationOfABatch(t *testing.T) {
	y := newBatchYard(t)
	y.parent = &Parent{Name: "first-run", Scheduling: &v1alpha1.SchedulingSpec{QueueName: "gpus", Reservation: v1alpha1.ReservationRun}}
	if next := y.step(); len(next.Create) > 0 {
		t.Errorf("creates %d without a reservation", len(next.Create))
	}
	y.parent.Reserved = &jobs.Reserved{Workload: "w", Pods: 1, NodeLabels: map[string]string{"example.com/gpu": "h100"}}
	next := y.step()
	if len(next.Create) != 1 || next.Create[0].GetAnnotations()[v1alpha1.AnnotationReservation] != "w" {
		t.Errorf("creates %+v", next.Create)
	}
}
