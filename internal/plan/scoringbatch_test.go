package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// batchYard has a ScoringBatch that a user created, or that a run did.
type batchYard struct {
	*yard[v1alpha1.ScoringBatchStatus]
	batch  *v1alpha1.ScoringBatch
	parent *Parent
}

func newBatchYard(t *testing.T) *batchYard {
	y := &batchYard{yard: newYard[v1alpha1.ScoringBatchStatus](t)}
	y.batch = &v1alpha1.ScoringBatch{
		ObjectMeta: metav1.ObjectMeta{Name: "my-videos", Namespace: "team-a", UID: "77-batch", Generation: 3},
		Spec: v1alpha1.ScoringBatchSpec{
			RuntimeRef: v1alpha1.RuntimeReference{Name: "synthetic"},
			Prompts:    *reference(file("my/prompts.jsonl")), Index: v1alpha1.ArtifactReference{Key: "my/index.jsonl"},
			Scoring: &v1alpha1.ScoringSpec{MinUsableFrames: 20, MaxInvalidFraction: "0.9"}, Retries: ptr.To(int32(2)),
		},
	}
	y.status = &y.batch.Status
	y.plan = func(b Base) Next[v1alpha1.ScoringBatchStatus] { return ScoringBatch(b, y.batch, y.parent) }
	y.records = func(s *v1alpha1.ScoringBatchStatus) []v1alpha1.StageStatus { return s.Stages }
	y.conditions = func(s *v1alpha1.ScoringBatchStatus) []metav1.Condition { return s.Conditions }
	return y
}

// tracked is what two track shards come to.
var tracked = jobs.Outcome{Outputs: map[string]contract.Artifact{"manifest/0": file("t0.json"), "manifest/1": file("t1.json")}}

// scored is what the score stage comes to.
var scored = jobs.Outcome{
	Outputs: map[string]contract.Artifact{"manifest/0": file("s.json"), "scores": file("scores.jsonl")},
	Counts:  map[string]int64{"total": 150, "scored": 140, "invalid": 8, "missing": 2},
	Metrics: map[string]string{"meanScore": "0.512345", "accuracy/0.7": "0.35", "accuracy/0.0": "0.93", "guard/validFraction": "0.93"},
}

// TestBatch plays batches in memory. The golden traces are the specification: read them.
func TestBatch(t *testing.T) {
	tests := []struct {
		name string
		play func(*batchYard)
	}{
		{"track-then-score", func(y *batchYard) {
			y.step()
			y.succeed(v1alpha1.StageTrack, tracked)
			y.succeed(v1alpha1.StageScore, scored)
		}},
		{"retries-then-succeeds", func(y *batchYard) {
			y.step()
			y.fail(v1alpha1.StageTrack, "GPUFault", false)
			y.fail(v1alpha1.StageTrack, "Storage", false)
			y.succeed(v1alpha1.StageTrack, tracked)
			y.fail(v1alpha1.StageScore, "NoManifest", false)
			y.succeed(v1alpha1.StageScore, scored)
		}},
		{"attempts-used-up", func(y *batchYard) {
			y.step()
			for range 3 {
				y.fail(v1alpha1.StageTrack, "GPUFault", false)
			}
		}},
		{"no-retries", func(y *batchYard) {
			y.batch.Spec.Retries = ptr.To(int32(0))
			y.step()
			y.fail(v1alpha1.StageTrack, "GPUFault", false)
		}},
		{"bad-spec-is-not-retried", func(y *batchYard) {
			y.step()
			y.succeed(v1alpha1.StageTrack, tracked)
			y.fail(v1alpha1.StageScore, "BadSpec", true)
		}},
		{"too-many-invalid-samples-are-final", func(y *batchYard) {
			y.step()
			y.succeed(v1alpha1.StageTrack, tracked)
			y.fail(v1alpha1.StageScore, contract.ExitTooManyInvalid.Class(), contract.ExitTooManyInvalid.Final())
		}},
		{"stored-tracks", func(y *batchYard) {
			y.batch.Spec.Tracking = v1alpha1.TrackingStored
			y.step()
			y.fail(v1alpha1.StageScore, "Storage", false)
			y.succeed(v1alpha1.StageScore, scored)
		}},
		{"stored-tracks-are-missing", func(y *batchYard) {
			y.batch.Spec.Tracking = v1alpha1.TrackingStored
			y.step()
			y.fail(v1alpha1.StageScore, "BadInput", false)
		}},
		{"deleted-job-is-no-failure", func(y *batchYard) {
			y.step()
			y.remove(v1alpha1.StageTrack)
			y.step()
			y.succeed(v1alpha1.StageTrack, tracked)
		}},
		{"next-attempt-waits-for-a-deletion-to-end", func(y *batchYard) {
			y.step()
			y.active(v1alpha1.StageTrack).Deleting = true
			y.step()
			y.remove(v1alpha1.StageTrack)
			y.step()
		}},
		{"pod-waits", func(y *batchYard) {
			y.step()
			y.active(v1alpha1.StageTrack).Outcome.Message = "ImagePullBackOff: no such image"
			y.step()
			y.active(v1alpha1.StageTrack).Outcome.Message = ""
			y.step()
		}},
		{"waits-for-its-runtime", func(y *batchYard) {
			allowing := y.runtime
			y.runtime = nil
			y.step()
			y.runtime = allowing.DeepCopy()
			y.runtime.Spec.AllowedNamespaces = nil
			y.step()
			y.runtime = allowing
			y.step()
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			y := newBatchYard(t)
			tt.play(y)
			y.done("batch-" + tt.name)
		})
	}
}

func TestBatchSummary(t *testing.T) {
	y := newBatchYard(t)
	y.step()
	y.succeed(v1alpha1.StageTrack, tracked)
	y.succeed(v1alpha1.StageScore, scored)
	want := &v1alpha1.ScoreSummary{
		Total: ptr.To(int64(150)), Scored: ptr.To(int64(140)), Invalid: ptr.To(int64(8)), Missing: ptr.To(int64(2)), MeanScore: "0.512345",
		Accuracy: []v1alpha1.AccuracyAt{{Threshold: "0.0", Value: "0.93"}, {Threshold: "0.7", Value: "0.35"}},
		Guards:   []v1alpha1.NamedMetric{{Name: "validFraction", Value: "0.93"}},
		Scores:   reference(file("scores.jsonl")),
	}
	if diff := cmp.Diff(want, y.status.Summary); diff != "" {
		t.Error(diff)
	}
}

// The score stage reads every track shard's manifest, in order, and the batch's own prompts and index.
func TestBatchScoresWhatItTracked(t *testing.T) {
	y := newBatchYard(t)
	y.step()
	shards := jobs.Outcome{Outputs: map[string]contract.Artifact{}}
	var want []contract.Artifact
	for i := range 12 {
		a := file(fmt.Sprintf("t%d.json", i))
		shards.Outputs[fmt.Sprintf("manifest/%d", i)], want = a, append(want, a)
	}
	y.succeed(v1alpha1.StageTrack, shards)
	spec := specOf(t, y.active(v1alpha1.StageScore))
	if diff := cmp.Diff(&contract.ScoreSpec{
		Prompts: file("my/prompts.jsonl"), Index: contract.Artifact{Key: "my/index.jsonl"}, Tracks: want, MinUsableFrames: 20, MaxInvalidFraction: "0.9",
	}, spec.Score); diff != "" {
		t.Error(diff)
	}
}

// A run's batch is an evaluation, or what a training learns from: all its samples were made for it, and none may be missing.
func TestBatchOfARunRequiresTracks(t *testing.T) {
	for _, tracking := range []v1alpha1.Tracking{v1alpha1.TrackingRun, v1alpha1.TrackingStored} {
		y := newBatchYard(t)
		y.batch.Spec.Tracking = tracking
		y.parent = &Parent{Name: "first-run"}
		y.step()
		if tracking == v1alpha1.TrackingRun {
			y.succeed(v1alpha1.StageTrack, tracked)
		}
		if !specOf(t, y.active(v1alpha1.StageScore)).Score.RequireTracks {
			t.Errorf("tracking %s: a sample may be missing", tracking)
		}
	}
}

// With stored tracks the score stage gets the detector whose they are, and no shards.
func TestBatchScoresStoredTracks(t *testing.T) {
	y := newBatchYard(t)
	y.batch.Spec.Tracking = v1alpha1.TrackingStored
	y.step()
	spec := specOf(t, y.active(v1alpha1.StageScore))
	d := y.runtime.Spec.Detector
	if diff := cmp.Diff(&contract.ScoreSpec{
		Prompts: file("my/prompts.jsonl"), Index: contract.Artifact{Key: "my/index.jsonl"}, MinUsableFrames: 20, MaxInvalidFraction: "0.9",
		Detector: &contract.Detector{Name: d.Name, Digest: string(d.Digest), Revision: d.Revision},
	}, spec.Score); diff != "" {
		t.Error(diff)
	}
}

// A run's batch goes by the run's snapshot, whatever has become of the runtime; a user's by the runtime as it is.
func TestBatchSnapshot(t *testing.T) {
	y := newBatchYard(t)
	generation := int64(7)
	y.parent = &Parent{Name: "first-run", Runtime: &v1alpha1.RuntimeSnapshot{Generation: &generation, Spec: *y.runtime.Spec.DeepCopy()}}
	y.parent.Runtime.Spec.Track.Image = "runtime:as-the-run-saw-it"
	y.runtime = nil
	y.step()
	job := y.active(v1alpha1.StageTrack).Object
	if diff := cmp.Diff(y.parent.Runtime, y.status.Runtime); diff != "" || imageOf(t, job) != "runtime:as-the-run-saw-it" {
		t.Errorf("image %s, snapshot: %s", imageOf(t, job), diff)
	}
	if run := job.GetLabels()[v1alpha1.LabelRun]; run != "first-run" {
		t.Errorf("the Job is labelled with run %q", run)
	}

	alone := newBatchYard(t)
	alone.step()
	alone.runtime.Spec.Track.Image = "runtime:2"
	alone.fail(v1alpha1.StageTrack, "GPUFault", false)
	if job := alone.active(v1alpha1.StageTrack).Object; imageOf(t, job) != "runtime:1" {
		t.Errorf("the second attempt runs %s, not what was accepted", imageOf(t, job))
	}
	if alone.status.Runtime.Spec.AllowedNamespaces != nil {
		t.Error("the snapshot tells a tenant who else may use the runtime")
	}
}

// Only what a run's batch could tell again from its Jobs may be written later: never a failure, an attempt or the end.
func TestBatchDeferrable(t *testing.T) {
	tests := []struct {
		name  string
		child bool
		play  func(*batchYard) Next[v1alpha1.ScoringBatchStatus]
		want  bool
	}{
		{"first Job", true, func(y *batchYard) Next[v1alpha1.ScoringBatchStatus] { return y.step() }, true},
		{"first Job of a user's batch", false, func(y *batchYard) Next[v1alpha1.ScoringBatchStatus] { return y.step() }, false},
		{"tracks are there", true, func(y *batchYard) Next[v1alpha1.ScoringBatchStatus] {
			y.step()
			y.active(v1alpha1.StageTrack).Outcome = jobs.Outcome{State: jobs.Succeeded, Outputs: tracked.Outputs}
			return y.step()
		}, true},
		{"pods have no node yet", true, func(y *batchYard) Next[v1alpha1.ScoringBatchStatus] {
			y.step()
			y.active(v1alpha1.StageTrack).Outcome.Queued = true
			return y.step()
		}, true},
		{"a queue says why it waits", true, func(y *batchYard) Next[v1alpha1.ScoringBatchStatus] {
			y.step()
			y.active(v1alpha1.StageTrack).Outcome = jobs.Outcome{State: jobs.Active, Queued: true, QueueReason: "Pending"}
			return y.step()
		}, false},
		{"what was said to wait has a node", true, func(y *batchYard) Next[v1alpha1.ScoringBatchStatus] {
			y.step()
			y.active(v1alpha1.StageTrack).Outcome.Queued = true
			y.step()
			y.active(v1alpha1.StageTrack).Outcome.Queued = false
			return y.step()
		}, false},
		{"a failure", true, func(y *batchYard) Next[v1alpha1.ScoringBatchStatus] {
			y.step()
			y.active(v1alpha1.StageTrack).Outcome = jobs.Outcome{State: jobs.Failed, Class: "Bug"}
			return y.step()
		}, false},
		{"an attempt after a deletion", true, func(y *batchYard) Next[v1alpha1.ScoringBatchStatus] {
			y.step()
			y.remove(v1alpha1.StageTrack)
			return y.step()
		}, false},
		{"the end", true, func(y *batchYard) Next[v1alpha1.ScoringBatchStatus] {
			y.step()
			y.succeed(v1alpha1.StageTrack, tracked)
			y.active(v1alpha1.StageScore).Outcome = jobs.Outcome{State: jobs.Succeeded, Outputs: scored.Outputs, Counts: scored.Counts}
			return y.step()
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			y := newBatchYard(t)
			if tt.child {
				y.parent = &Parent{Name: "first-run", Runtime: &v1alpha1.RuntimeSnapshot{Generation: ptr.To(int64(1)), Spec: y.runtime.Spec}}
			}
			if got := tt.play(y).Deferrable; got != tt.want {
				t.Errorf("deferrable: %v", got)
			}
		})
	}
}

// A deferred status is lost with the operator: planning from the Jobs alone comes to the same.
func TestBatchIsDerivedFromItsJobs(t *testing.T) {
	y := newBatchYard(t)
	y.step()
	y.active(v1alpha1.StageTrack).Outcome = jobs.Outcome{State: jobs.Succeeded, Outputs: tracked.Outputs}
	y.step()
	y.active(v1alpha1.StageScore).Outcome = jobs.Outcome{State: jobs.Succeeded, Outputs: scored.Outputs, Counts: scored.Counts, Metrics: scored.Metrics}
	forgetful := newBatchYard(t)
	forgetful.children, forgetful.now = y.children, y.now
	y.step()
	if next := forgetful.step(); len(next.Create) > 0 {
		t.Errorf("%d Jobs are created again", len(next.Create))
	}
	if diff := cmp.Diff(y.status.Summary, forgetful.status.Summary); diff != "" {
		t.Error(diff)
	}
}

// The end is sticky, and what is still active is deleted.
func TestBatchEndIsSticky(t *testing.T) {
	y := newBatchYard(t)
	y.step()
	y.succeed(v1alpha1.StageTrack, tracked)
	y.succeed(v1alpha1.StageScore, scored)
	end := y.status.DeepCopy()
	late := *y.children[0]
	late.Outcome = jobs.Outcome{State: jobs.Active}
	y.children, y.runtime = []*Child{&late}, nil
	next := y.plan(y.base())
	if !cmp.Equal(next.Status, *end) || len(next.Create) > 0 || len(next.Delete) != 1 || next.RequeueAfter != 0 {
		t.Errorf("after the end: %d creates, %d deletes, %s", len(next.Create), len(next.Delete), cmp.Diff(*end, next.Status))
	}
}

// However much Kubernetes says, status can hold it.
func TestBatchMessagesAreBounded(t *testing.T) {
	y := newBatchYard(t)
	y.step()
	y.active(v1alpha1.StageTrack).Outcome.Message = strings.Repeat("ä", 4000)
	y.step()
	if n := len(y.status.Stages[0].Message); n > 2048 || n < 2000 || strings.ContainsRune(y.status.Stages[0].Message, '\ufffd') {
		t.Errorf("the message has %d bytes", n)
	}
	y.active(v1alpha1.StageTrack).Outcome = jobs.Outcome{State: jobs.Failed, Class: "Bug", Message: strings.Repeat("x", 4000), Final: true}
	y.step()
	if n := len(y.status.Stages[0].Message); n > 2048 {
		t.Errorf("the message has %d bytes", n)
	}
}
