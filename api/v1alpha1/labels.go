package v1alpha1

// Labels and annotations on the children of our kinds.
const (
	// LabelManaged stands on every Job and pod of ours; the operator caches no others.
	LabelManaged = "alignment.spatialalign.dev/managed"
	// LabelOwnerUID is the UID of the object that owns the child.
	LabelOwnerUID = "alignment.spatialalign.dev/owner-uid"
	// LabelRun is the name of the AlignmentRun at the top, where there is one.
	LabelRun = "alignment.spatialalign.dev/run"
	// LabelIteration, LabelStage and LabelAttempt place the child in its owner's plan.
	LabelIteration = "alignment.spatialalign.dev/iteration"
	LabelStage     = "alignment.spatialalign.dev/stage"
	LabelAttempt   = "alignment.spatialalign.dev/attempt"
	// LabelRound is the resampling round, on children of rounds after the first.
	LabelRound = "alignment.spatialalign.dev/round"
	// LabelGang stands on the pods of a training on several nodes, which may talk to each other.
	LabelGang = "alignment.spatialalign.dev/gang"

	// AnnotationSpec carries the stage spec (JSON) on the pod template.
	AnnotationSpec = "alignment.spatialalign.dev/spec"
	// AnnotationSpecDigest is the digest of the child's spec, compared when a name already exists.
	AnnotationSpecDigest = "alignment.spatialalign.dev/spec-digest"
	// AnnotationMinParallel and AnnotationMaxParallel bound what the operator makes of a Job's parallelism, by what quotas leave. Of a
	// Job in a queue, which may be admitted with fewer pods, the latter is how many it asked for.
	AnnotationMinParallel = "alignment.spatialalign.dev/min-parallel"
	AnnotationMaxParallel = "alignment.spatialalign.dev/max-parallel"
	// AnnotationReservation names the Workload under whose reservation a Job runs.
	AnnotationReservation = "alignment.spatialalign.dev/reservation"
)
