package plan

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// Parent is the run above a ScoringBatch or PreferenceDataset; nil for one that a user created alone.
type Parent struct {
	Name string
	// Runtime is the run's snapshot, which its children go by.
	Runtime *v1alpha1.RuntimeSnapshot
	// Scheduling and StartupDeadlineSeconds are the run's.
	Scheduling             *v1alpha1.SchedulingSpec
	StartupDeadlineSeconds int64
	// Reserved is what the run has of its queue as a whole; nil while it has nothing.
	Reserved *jobs.Reserved
}

// startupDeadline of an object that no run owns: AlignmentRun's default.
const startupDeadline = 1800

func startup(parent *Parent) time.Duration {
	if parent == nil {
		return startupDeadline * time.Second
	}
	return time.Duration(parent.StartupDeadlineSeconds) * time.Second
}

// snapshot is the parent's, where there is one, or the runtime's as it is now.
func snapshot(b Base, parent *Parent, runtime, namespace string) (*v1alpha1.RuntimeSnapshot, *failure) {
	if parent != nil && parent.Runtime != nil {
		return parent.Runtime, nil
	}
	return accept(b, runtime, namespace)
}

func runName(parent *Parent) string {
	if parent == nil {
		return ""
	}
	return parent.Name
}

// ScoringBatch plans Track -> Score, or Score alone of tracks that are in the store.
func ScoringBatch(b Base, batch *v1alpha1.ScoringBatch, parent *Parent) Next[v1alpha1.ScoringBatchStatus] {
	status := *batch.Status.DeepCopy()
	(&mender{}).stages(&status.Stages, false)
	if status.Progress != nil && status.Progress.Iteration == nil {
		status.Progress = nil
	}
	cond := conditions{&status.Conditions, batch.Generation, b.Now, batch.Status.Conditions}
	for i := range b.Children {
		if c := &b.Children[i]; c.Place.Stage == v1alpha1.StageTrack || c.Place.Stage == v1alpha1.StageScore {
			adopt(&status.Stages, c, b.Children, b.Now)
		}
	}
	used := charge(status.Stages, 0, b.Children, b.Now)
	status.GPUSeconds += used.seconds
	status.WastedGPUSeconds = used.waste(status.WastedGPUSeconds)
	if Ended(status.Conditions) {
		next := Next[v1alpha1.ScoringBatchStatus]{Status: status, Delete: unfinished(b.Children), Deferrable: true}
		if slices.ContainsFunc(status.Stages, func(rec v1alpha1.StageStatus) bool { return holdsGPUs(&rec) }) {
			next.RequeueAfter = b.Config.ProgressInterval
		}
		return next
	}
	if b.Leaving {
		return Next[v1alpha1.ScoringBatchStatus]{Status: status, Delete: unfinished(b.Children), Deferrable: true}
	}
	status.ObservedGeneration = batch.Generation
	if status.Runtime == nil {
		taken, waiting := snapshot(b, parent, batch.Spec.RuntimeRef.Name, batch.Namespace)
		if waiting == nil && parent == nil {
			waiting = batchExceeds(batch, b.Runtime, &taken.Spec)
		}
		if waiting != nil {
			status.Phase = v1alpha1.PhasePending
			cond.wait(waiting)
			return Next[v1alpha1.ScoringBatchStatus]{Status: status}
		}
		status.Runtime = taken
	}
	status.Phase = v1alpha1.PhaseRunning

	p := &batchPlan{b, batch, parent, &status}
	s := stages{now: b.Now, retries: ptr.Deref(batch.Spec.Retries, 0), children: b.Children, startup: startup(parent), space: newSpace(&b)}
	s.allow(cond, p.withheld())
	s.kept = p.kept
	tracked := p.stored()
	if tracked {
		s.hopeless = contract.ExitBadInput.Class() // no other attempt finds more tracks
	} else {
		tracked, _ = s.step(&status.Stages, jobs.Place{Stage: v1alpha1.StageTrack}, p.track)
	}
	if tracked {
		if _, child := s.step(&status.Stages, jobs.Place{Stage: v1alpha1.StageScore}, p.score); child != nil {
			status.Summary = scoreSummary(child.Outcome)
			status.Phase, status.Progress = v1alpha1.PhaseSucceeded, nil
			cond.complete(v1alpha1.ReasonScored, fmt.Sprintf("%d of %d samples scored", *status.Summary.Scored, *status.Summary.Total))
			return Next[v1alpha1.ScoringBatchStatus]{Status: status}
		}
	}
	if s.failed != nil {
		status.Phase, status.Progress = v1alpha1.PhaseFailed, nil
		cond.fail(s.failed)
		return Next[v1alpha1.ScoringBatchStatus]{Status: status, Delete: unfinished(b.Children)}
	}
	cond.queued(&s, func(c *Child) bool { return c.Outcome.Queued })
	if unbegun := s.unbegun(status.Stages); unbegun != nil {
		cond.wait(unbegun)
	}
	status.Progress = progress(b.Now, s.active, status.Progress)
	again := b.Config.ProgressInterval
	if s.enqueued {
		again = min(again, firstLook)
	}
	return Next[v1alpha1.ScoringBatchStatus]{
		Status: status, Create: s.create, Delete: endless(b.Children), Resize: s.space.resize, WantsRoom: s.space.wanting, Waiting: s.space.waiting,
		RequeueAfter: s.space.again(again),
		Deferrable:   routine(parent != nil, batch.Status.Conditions, status.Conditions, batch.Status.Stages, status.Stages),
	}
}

type batchPlan struct {
	Base
	batch  *v1alpha1.ScoringBatch
	parent *Parent
	status *v1alpha1.ScoringBatchStatus
}

// stored says that the tracks are in the store.
func (p *batchPlan) stored() bool { return p.batch.Spec.Tracking == v1alpha1.TrackingStored }

func (p *batchPlan) track(place jobs.Place) Object {
	return p.job(place, contract.Spec{Stage: contract.Track, Track: &contract.TrackSpec{
		Prompts: artifact(p.batch.Spec.Prompts), Index: artifact(p.batch.Spec.Index),
		Detector: *detector(p.status.Runtime), RequireVideos: p.parent != nil,
	}})
}

// detector of a runtime, as stages name it.
func detector(runtime *v1alpha1.RuntimeSnapshot) *contract.Detector {
	d := runtime.Spec.Detector
	return &contract.Detector{Name: d.Name, Digest: string(d.Digest), Revision: d.Revision}
}

func (p *batchPlan) score(place jobs.Place) Object {
	tracks := stageRecord(p.status.Stages, v1alpha1.StageTrack, 0)
	scoring := ptr.Deref(p.batch.Spec.Scoring, v1alpha1.ScoringSpec{}) // the API server defaults it
	spec := &contract.ScoreSpec{
		Prompts: artifact(p.batch.Spec.Prompts), Index: artifact(p.batch.Spec.Index),
		MinUsableFrames: int(scoring.MinUsableFrames), MaxInvalidFraction: string(scoring.MaxInvalidFraction),
		RequireTracks: p.parent != nil,
	}
	for _, name := range p.batch.Spec.RequiredGuards {
		spec.Guards = append(spec.Guards, string(name))
	}
	if p.stored() {
		spec.Detector = detector(p.status.Runtime)
		return p.job(place, contract.Spec{Stage: contract.Score, Score: spec})
	}
	for shard := 0; ; shard++ {
		manifest := output(tracks, "manifest/"+strconv.Itoa(shard))
		if manifest.Key == "" {
			break
		}
		spec.Tracks = append(spec.Tracks, manifest)
	}
	return p.job(place, contract.Spec{Stage: contract.Score, Score: spec})
}

func (p *batchPlan) job(place jobs.Place, spec contract.Spec) Object {
	spec.ContractVersion = contract.Version
	spec.Output = outputPrefix(p.batch.UID, place)
	return jobs.Build(jobs.Work{
		Owner: jobs.Owner{Kind: "ScoringBatch", Namespace: p.batch.Namespace, Name: p.batch.Name, UID: p.batch.UID, Run: runName(p.parent)},
		Place: place, Spec: spec, Runtime: &p.status.Runtime.Spec, Images: p.Config.Images, Scheduling: p.scheduling(), Reserved: p.reserved(),
	})
}

// kept says that tracking waits until its run has its reservation again.
func (p *batchPlan) kept(_ Object, at jobs.Place) string {
	if at.Stage == v1alpha1.StageTrack && Reserves(p.scheduling()) && p.reserved() == nil {
		return "waits for the run's reservation"
	}
	return ""
}

func (p *batchPlan) reserved() *jobs.Reserved {
	if p.parent == nil {
		return nil
	}
	return p.parent.Reserved
}

func (p *batchPlan) scheduling() *v1alpha1.SchedulingSpec {
	if p.parent == nil {
		return nil
	}
	return p.parent.Scheduling
}
