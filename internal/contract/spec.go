package contract

import "encoding/json"

// Artifact is a file in the store, pinned by digest.
type Artifact struct {
	// Key is the path under the store's root: [A-Za-z0-9._/-]+, no "..", not absolute.
	Key string `json:"key"`
	// Digest is "sha256:" and 64 hex digits; empty only where a user names an input without one.
	Digest string `json:"digest,omitempty"`
}

// Spec tells a stage what to do. It is attempt-independent: another attempt of the same work has
// the same spec, and so the same digest. Exactly the block named after Stage is set.
type Spec struct {
	ContractVersion string `json:"contractVersion"`
	Stage           Stage  `json:"stage"`
	// Output is the key prefix of this stage's manifests and artifacts, shared by all its attempts;
	// a pod writes below <output>/<attempt>-<pod UID>/<shard>/ .
	Output string `json:"output"`

	Prepare *PrepareSpec `json:"prepare,omitempty"`
	Sample  *SampleSpec  `json:"sample,omitempty"`
	Track   *TrackSpec   `json:"track,omitempty"`
	Score   *ScoreSpec   `json:"score,omitempty"`
	Pair    *PairSpec    `json:"pair,omitempty"`
	Train   *TrainSpec   `json:"train,omitempty"`
	Compare *CompareSpec `json:"compare,omitempty"`
	Lineage *LineageSpec `json:"lineage,omitempty"`
}

// Outputs are the names of the artifacts that the stage's Termination must have on success.
func (s *Spec) Outputs() []string {
	switch s.Stage {
	case Prepare:
		var names []string
		if s.Prepare != nil {
			for _, p := range s.Prepare.Prompts {
				names = append(names, "prompts/"+p.Name)
			}
			for _, set := range s.Prepare.Sets {
				names = append(names, "index/"+set.Name)
			}
		}
		return names
	case Score:
		return []string{"scores"}
	case Pair:
		return []string{"pairs"}
	case Train:
		return []string{"adapter"}
	case Compare:
		return []string{"verdict"}
	case Lineage:
		return []string{"lineage", "modelCard"}
	default:
		return nil
	}
}

// Metrics are the names of those that the stage's Termination must have on success.
func (s *Spec) Metrics() []string {
	if s.Stage == Compare {
		return []string{"delta", "lowerBound", "upperBound"}
	}
	return nil
}

// PrepareSpec resolves prompts and lists samples.
type PrepareSpec struct {
	// Prompts are resolved to prompts.jsonl each; no two may share a (type, subject, object).
	Prompts []PromptSource `json:"prompts,omitempty"`
	// Sets are sample sets to list in an index each.
	Sets []SampleSet `json:"sets,omitempty"`
}

// PromptSource is one of Generate, File and Artifact.
type PromptSource struct {
	// Name is train, evaluation or test; the output is "prompts/<name>".
	Name     string    `json:"name"`
	Generate *Generate `json:"generate,omitempty"`
	// File is a JSONL or CSV file mounted into the container.
	File     string    `json:"file,omitempty"`
	Artifact *Artifact `json:"artifact,omitempty"`
}

// Generate describes a generated prompt set; generated sets of different splits never overlap.
type Generate struct {
	Relations []string `json:"relations,omitempty"`
	Count     int      `json:"count"`
	Seed      uint64   `json:"seed"`
	Split     string   `json:"split,omitempty"`
}

// SampleSet lists, for each prompt, SamplesPerPrompt samples.
type SampleSet struct {
	// Name is train, evaluation or test; the output is "index/<name>".
	Name string `json:"name"`
	// Prompts is a resolved prompts.jsonl; nil means the PromptSource of the same name in this spec.
	Prompts          *Artifact `json:"prompts,omitempty"`
	SamplesPerPrompt int       `json:"samplesPerPrompt"`
	Sampling         Sampling  `json:"sampling"`
	Seeds            SeedRule  `json:"seeds"`
	// KeepLatents is true for training sets: a sample that was stored without its latent counts as missing.
	KeepLatents bool `json:"keepLatents,omitempty"`
	// Detector is whose tracks to look for: the samples that have none kept are then counted as "<name>/untracked".
	Detector *Detector `json:"detector,omitempty"`
}

// SeedRule says where a set's seeds come from: see Seed.
type SeedRule struct {
	// Seed is the run's (training sets) or the evaluation's seed.
	Seed uint64 `json:"seed"`
	// Iteration is 0 for evaluation and test sets, whose seeds never change.
	Iteration int `json:"iteration"`
	// Round counts resampling rounds within the iteration, from 0.
	Round int `json:"round"`
}

// Model names the base model. Its digest enters every sample key.
type Model struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

// Sampling is everything but prompt and seed that a sample's content depends on.
type Sampling struct {
	Model Model `json:"model"`
	// NumericsRevision is raised by the runtime's author when the numbers change.
	NumericsRevision string `json:"numericsRevision"`
	// Adapter is nil for the base model.
	Adapter *Artifact `json:"adapter,omitempty"`
	// Steps of the sampler.
	Steps int `json:"steps"`
	// GuidanceScale, a decimal, is the weight of classifier-free guidance; empty is the runtime's own.
	GuidanceScale string `json:"guidanceScale,omitempty"`
	// NegativePrompt that guidance leads away from; empty is the runtime's own.
	NegativePrompt string `json:"negativePrompt,omitempty"`
	// Frames of a video and its Width and Height in pixels; 0 is the runtime's own.
	Frames int `json:"frames,omitempty"`
	Width  int `json:"width,omitempty"`
	Height int `json:"height,omitempty"`
	// Device is the GPU model that the sample is wanted from, where that matters: an adapter is evaluated again on the model that
	// another was evaluated on. Empty, as of all other samples, is whatever the stage finds. What a sample was made on stands in
	// its Sidecar.
	Device string `json:"device,omitempty"`
}

// SampleSpec generates the samples of an index that the store lacks.
type SampleSpec struct {
	Prompts  Artifact `json:"prompts"`
	Index    Artifact `json:"index"`
	Sampling Sampling `json:"sampling"`
	// KeepLatents is true for training samples.
	KeepLatents bool `json:"keepLatents"`
}

// Detector names what tracks, for the track key.
type Detector struct {
	Name string `json:"name"`
	// Digest of the detector's weights.
	Digest string `json:"digest"`
	// Revision of the tracking rules and numerics.
	Revision string `json:"revision"`
}

// TrackSpec finds boxes in the videos of an index.
type TrackSpec struct {
	Prompts  Artifact `json:"prompts"`
	Index    Artifact `json:"index"`
	Detector Detector `json:"detector"`
	// RequireVideos says that the videos were made for this index: one that is missing was lost, and ends the stage with
	// ExitBadInput. Otherwise a sample without a video is INVALID, ReasonNoVideo.
	RequireVideos bool `json:"requireVideos,omitempty"`
}

// ScoreSpec scores the tracks of an index: those of Tracks, or those kept of Detector. Exactly one of the two is set.
type ScoreSpec struct {
	Prompts Artifact `json:"prompts"`
	Index   Artifact `json:"index"`
	// Tracks are the manifests of all track shards; each names its part file.
	Tracks []Artifact `json:"tracks,omitempty"`
	// Detector is whose KeptTracks are scored. A sample without any, or with damaged ones, ends the stage with ExitBadInput.
	Detector *Detector `json:"detector,omitempty"`
	// MinUsableFrames below which a sample is INVALID (method: 20).
	MinUsableFrames int `json:"minUsableFrames"`
	// MaxInvalidFraction, a decimal: more INVALID samples than that end the stage with ExitTooManyInvalid.
	MaxInvalidFraction string `json:"maxInvalidFraction"`
	// RequireTracks says that every sample was made and tracked for this index: one without a track ends the stage with
	// ExitBadInput. Otherwise it counts as Missing.
	RequireTracks bool `json:"requireTracks,omitempty"`
	// Guards, of TrackGuards, that the track of every scored sample must have. Where one is missing, kept tracks end the stage with
	// ExitBadInput, as tracking may find it; those of Tracks with ExitBadSpec, as the tracker does not measure it.
	Guards []string `json:"guards,omitempty"`
}

// PairSpec builds pairs, from Sources or from Import.
type PairSpec struct {
	// Extends is a pairs.jsonl of earlier iterations whose pairs come first, as they are (history: Cumulative).
	Extends *Artifact    `json:"extends,omitempty"`
	Sources []PairSource `json:"sources,omitempty"`
	// Import is a pairs.jsonl to check and adopt.
	Import *Artifact `json:"import,omitempty"`
	// Thresholds are decimals: winner >= WinnerThreshold, loser < LoserThreshold.
	WinnerThreshold string `json:"winnerThreshold,omitempty"`
	LoserThreshold  string `json:"loserThreshold,omitempty"`
	// MinMargin is the least difference of a pair's scores, a decimal; empty is 0.
	MinMargin string `json:"minMargin,omitempty"`
	// MaxPairsPerPrompt keeps that many pairs of a prompt and iteration, chosen by hash; 0 keeps all.
	MaxPairsPerPrompt int `json:"maxPairsPerPrompt,omitempty"`
}

// PairSource is scores of one iteration. Sources of the same iteration (its resampling rounds) are taken together;
// pairs are formed within an iteration only.
type PairSource struct {
	Iteration int      `json:"iteration"`
	Scores    Artifact `json:"scores"`
}

// TrainSpec fine-tunes a LoRA with zeroth-order-regularized DPO.
type TrainSpec struct {
	Prompts          Artifact `json:"prompts"`
	Pairs            Artifact `json:"pairs"`
	Model            Model    `json:"model"`
	NumericsRevision string   `json:"numericsRevision"`
	// StartAdapter is nil for a fresh adapter.
	StartAdapter *Artifact `json:"startAdapter,omitempty"`
	// ReferenceAdapter is frozen and makes the reference's output; nil is the base model alone.
	ReferenceAdapter *Artifact `json:"referenceAdapter,omitempty"`
	// Seed and Iteration seed every draw.
	Seed      uint64   `json:"seed"`
	Iteration int      `json:"iteration"`
	Training  Training `json:"training"`
}

// Training holds the hyperparameters. Decimals are strings.
type Training struct {
	// Steps that are trained.
	Steps int `json:"steps"`
	// ScheduleSteps is where the cosine of the learning rate ends, at least Steps.
	ScheduleSteps int `json:"scheduleSteps"`
	// WarmupSteps raise the learning rate linearly from 0; the first step has rate 0 unless there are none.
	WarmupSteps int `json:"warmupSteps"`
	// CheckpointEverySteps is how often progress is saved beside SIGTERM.
	CheckpointEverySteps int    `json:"checkpointEverySteps"`
	PairsPerStep         int    `json:"pairsPerStep"`
	LearningRate         string `json:"learningRate"`
	Beta                 string `json:"beta"`
	Lambda               string `json:"lambda"`
	MarginClip           string `json:"marginClip"`
	LoRARank             int    `json:"loraRank"`
	LoRAAlpha            int    `json:"loraAlpha"`
}

// CompareSpec compares a candidate's evaluation with the best one's, paired by (prompt, seed): "Iterating" in
// docs/alignmentrun.md.
type CompareSpec struct {
	// Best and Candidate are the scores.jsonl of the same samples asked for, but for the adapter.
	Best      Artifact `json:"best"`
	Candidate Artifact `json:"candidate"`
	// Threshold of the accuracy, a decimal.
	Threshold string `json:"threshold"`
	// Confidence of the one-sided bounds, a decimal in (0, 1).
	Confidence string `json:"confidence"`
	// Resamples of the bootstrap, and the Seed of its draws.
	Resamples int    `json:"resamples"`
	Seed      uint64 `json:"seed"`
}

// LineageSpec records what an iteration was made of.
type LineageSpec struct {
	Record LineageRecord `json:"record"`
}

// TakenOver is what a rerun begins with: an iteration of another run, up to a stage.
type TakenOver struct {
	// Run by its name, in the same namespace.
	Run string `json:"run"`
	// Stage that the rerun began with.
	Stage string `json:"stage"`
	// UID and Spec of that run, and the Images that its stages of the iteration ran; absent when it was gone before the record
	// was written.
	UID    string            `json:"uid,omitempty"`
	Spec   json.RawMessage   `json:"spec,omitempty"`
	Images map[string]string `json:"images,omitempty"`
}

// LineageRecord is what suffices to make an iteration again: lineage.json of the lineage stage.
type LineageRecord struct {
	ContractVersion string `json:"contractVersion"`
	// Namespace, Run and UID name the AlignmentRun.
	Namespace string `json:"namespace"`
	Run       string `json:"run"`
	UID       string `json:"uid"`
	Iteration int    `json:"iteration"`
	// CodeVersion is the operator's.
	CodeVersion string `json:"codeVersion"`
	// Spec is the AlignmentRun's, Runtime the AlignmentRuntime's as the run took it, both as JSON.
	Spec    json.RawMessage `json:"spec"`
	Runtime json.RawMessage `json:"runtime"`
	// Images that ran, by stage, with their digests as the nodes resolved them.
	Images map[string]string `json:"images,omitempty"`
	// Sampling, Training and the seeds, resolved. Training is nil when nothing was trained, or another run trained and nobody knows how any more.
	Sampling       Sampling  `json:"sampling"`
	Training       *Training `json:"training,omitempty"`
	TrainingSeeds  SeedRule  `json:"trainingSeeds"`
	EvaluationSeed uint64    `json:"evaluationSeed"`
	// TakenOver tells of the run that made what precedes a stage, when this run is a rerun from there.
	TakenOver *TakenOver `json:"takenOver,omitempty"`
	// Rounds of sampling, 1 without resampling.
	Rounds int `json:"rounds"`
	// Artifacts by role: prompts/<set>, scores/<round>, pairs, startAdapter, referenceAdapter, adapter,
	// evaluation (scores), best (the scores compared with), verdict; index/<round> of samples that are not scored.
	Artifacts map[string]Artifact `json:"artifacts"`
	// Results by name: accuracy, delta, lowerBound, pairs and so on, as status has them.
	Results map[string]string `json:"results"`
	// Accepted says whether the adapter became the best one; Reason why.
	Accepted bool   `json:"accepted"`
	Reason   string `json:"reason"`
	// Previous is the lineage of the newest iteration before that has one.
	Previous *Artifact `json:"previous,omitempty"`
}
