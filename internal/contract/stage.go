package contract

// Stage names one kind of work, and is the first argument of a stage's container.
type Stage string

const (
	// Prepare resolves prompt sources into prompts.jsonl, refuses overlap between them and lists the samples of sample sets.
	Prepare Stage = "prepare"
	// Sample generates the videos (and latents) that an index lists and the store lacks.
	Sample Stage = "sample"
	// Track finds the boxes of subject and object in the videos of an index.
	Track Stage = "track"
	// Score merges all track parts and computes DSR-Scores.
	Score Stage = "score"
	// Pair builds preference pairs from the scores of the iterations.
	Pair Stage = "pair"
	// Train fine-tunes a LoRA adapter on the pairs.
	Train Stage = "train"
	// Compare bootstraps the difference of two evaluations.
	Compare Stage = "compare"
	// Lineage writes what an iteration was made of, and a model card.
	Lineage Stage = "lineage"
)

// Arguments and environment of a stage's container:
//
//	<entrypoint> <stage> --spec <file> --spec-digest sha256:<hex>
const (
	// FlagSpec names the file that holds the Spec, projected from the pod's own annotation.
	FlagSpec = "--spec"
	// FlagSpecDigest carries the digest of that file's bytes.
	FlagSpecDigest = "--spec-digest"

	// EnvStore is the artifact root: file:///dir, or s3://bucket/prefix?endpoint=...&region=... .
	EnvStore = "SPATIALALIGN_STORE"
	// EnvAttempt is the attempt number of the stage, from 0.
	EnvAttempt = "SPATIALALIGN_ATTEMPT"
	// EnvPodUID is the UID of the pod; it makes the keys of what the pod writes its own.
	EnvPodUID = "SPATIALALIGN_POD_UID"
	// EnvShards is the number of shards; the shard's own index is in EnvShard.
	EnvShards = "SPATIALALIGN_SHARDS"
	// EnvShard is this pod's shard, set by the Job controller of an Indexed Job.
	EnvShard = "JOB_COMPLETION_INDEX"
	// EnvNodes is how many pods train together, where there are several; then EnvShard is this pod's rank among them, and there
	// is one shard. The pod of rank 0 waits for the others at EnvMasterAddress and EnvMasterPort.
	EnvNodes         = "NNODES"
	EnvMasterAddress = "MASTER_ADDR"
	EnvMasterPort    = "MASTER_PORT"

	// EnvImage is the image that the container was started from, as the pod names it; samples tell it in their provenance.
	EnvImage = "SPATIALALIGN_IMAGE"

	// ProgressPort serves /progress, /metrics and /healthz while the stage runs.
	ProgressPort = 9400
	// TerminationPath is where the container writes its Termination.
	TerminationPath = "/dev/termination-log"
	// MaxTermination is what the kubelet keeps of it, in bytes.
	MaxTermination = 4096
)

// ExitCode of a stage's container.
type ExitCode int

// The exit codes. docs/contract.md says what becomes of a Job with each.
const (
	ExitDone         ExitCode = 0  // done, also with zero pairs
	ExitBadSpec      ExitCode = 64 // the spec or the prompts are wrong; a retry cannot help
	ExitBadInput     ExitCode = 65 // an input is missing, truncated or has another digest
	ExitMismatch     ExitCode = 66 // weights or adapter do not fit
	ExitStorage      ExitCode = 69 // the store or the network refused
	ExitBug          ExitCode = 70 // a bug in the stage
	ExitCheckpointed ExitCode = 75 // SIGTERM: progress is saved
	ExitGPU          ExitCode = 76 // GPU or collective-communication fault
	ExitOutOfMemory  ExitCode = 77 // out of GPU memory
	ExitDiverged     ExitCode = 78 // NaN in training
	// ExitTooManyInvalid: more samples are INVALID than the spec accepts. It is found of the same tracks every time.
	ExitTooManyInvalid ExitCode = 79
	ExitSIGTERM        ExitCode = 143
)

// Class is the exit code's name in a Termination and in status.
func (c ExitCode) Class() string {
	switch c {
	case ExitDone:
		return "Succeeded"
	case ExitBadSpec:
		return "BadSpec"
	case ExitBadInput:
		return "BadInput"
	case ExitMismatch:
		return "Mismatch"
	case ExitStorage:
		return "Storage"
	case ExitCheckpointed, ExitSIGTERM:
		return "Interrupted"
	case ExitGPU:
		return "GPUFault"
	case ExitOutOfMemory:
		return "OutOfMemory"
	case ExitDiverged:
		return "Diverged"
	case ExitTooManyInvalid:
		return "TooManyInvalid"
	default:
		return "Bug"
	}
}

// Final reports whether another attempt of the same spec must end the same way.
func (c ExitCode) Final() bool {
	switch c {
	case ExitBadSpec, ExitMismatch, ExitOutOfMemory, ExitDiverged, ExitTooManyInvalid:
		return true
	default:
		return false
	}
}
