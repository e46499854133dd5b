// Package plan decides what happens next: Observed -> Next, a file per kind and one per policy.
//
// It is pure. It takes no client, no context and never reads the clock; it returns no error, because
// bad input is a condition. The current stage is derived from recorded results and live children,
// never from a phase. Planning twice from the same world changes nothing the second time.
package plan

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/quota"
)

// Object is a Kubernetes object to create or delete.
type Object interface {
	metav1.Object
	runtime.Object
}

// Config is what the operator was started with.
type Config struct {
	Images jobs.Images
	// Version of the operator.
	Version string
	// ProgressInterval is how often running stages are looked at, and the least time between two
	// status writes that carry nothing but progress: see ADR 4.
	ProgressInterval time.Duration
}

// Base is what every kind's plan observes.
type Base struct {
	Now    metav1.Time
	Config Config
	// Runtime is the AlignmentRuntime that the spec names; nil while it does not exist.
	Runtime *v1alpha1.AlignmentRuntime
	// Missing says which object that the spec refers to does not exist; empty when all do. It is looked at before acceptance.
	Missing string
	// Leaving says that the namespace is being deleted, and that Jobs stand in its way: see jobs.Outcome.Stranded.
	Leaving bool
	// Room is what quotas leave to the object's stages beside what is promised to others; nil where there are no quotas.
	Room *quota.Room
	// Line is who waits for room in the namespace, of this object and of others, in the order in which they began to.
	Line []Waiter
	// Children are all live children of the object.
	Children []Child
}

// Child is a live Job, ScoringBatch or PreferenceDataset that the object owns.
type Child struct {
	Object   Object
	Place    jobs.Place
	Deleting bool
	Outcome  jobs.Outcome
	// Unnamed says that the Service is missing by which the pods of a Job find each other.
	Unnamed bool
	// Size of a Job that has not ended.
	Size jobs.Size
	// Progress that the child's pods report; nil when none could be read.
	Progress *contract.Progress
	// Batch and Dataset are set where the child is one; a Job has neither.
	Batch   *v1alpha1.ScoringBatch
	Dataset *v1alpha1.PreferenceDataset
}

// leaving says that the child is deleted, or about to be, and may still have pods that somebody can tell of.
func (c *Child) leaving() bool { return !c.Outcome.Lost && (c.Deleting || c.Outcome.Endless) }

// takesStored says that the child scores the tracks that are in the store. Its failure ends no stage, unless
// it is judged: the next attempt tracks.
func (c *Child) takesStored() bool {
	batch, ok := c.Object.(*v1alpha1.ScoringBatch)
	return ok && batch.Spec.Tracking == v1alpha1.TrackingStored
}

// lacksQuota says that the child waits for quota, as somebody who gives it says.
func (c *Child) lacksQuota() bool {
	return c.Outcome.Queued && c.Outcome.QueueReason != "" && c.Outcome.QueueReason != v1alpha1.ReasonQueued
}

func (c *Child) kind() string {
	switch {
	case c.Batch != nil:
		return "ScoringBatch"
	case c.Dataset != nil:
		return "PreferenceDataset"
	default:
		return "Job"
	}
}

// Next is what has to be done: create, delete, resize, record, and when to look again.
type Next[Status any] struct {
	Create []Object
	Delete []Object
	Resize []Resize
	// GiveBack is the Workload of a run that gives back the quota that Kueue takes; nil for none.
	GiveBack Object
	Status   Status
	// WantsRoom says that a change of the namespace's quotas may let a stage begin, or go faster.
	WantsRoom bool
	// Waiting are the object's stages that have no pod for want of room.
	Waiting []Waiter
	// Deferrable says that the status holds nothing yet that could not be derived again from the
	// children, so that its write may wait for the next result or the next look at the progress.
	Deferrable bool
	// RequeueAfter is zero when only an event can change anything.
	RequeueAfter time.Duration
}

// failure is why an object cannot go on.
type failure struct {
	reason  string
	message string
}
