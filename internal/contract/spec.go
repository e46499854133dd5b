package contract

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
	default:
		return nil
	}
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
	// Name is train or evaluation; the output is "prompts/<name>".
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
	// Name is train or evaluation; the output is "index/<name>".
	Name string `json:"name"`
	// Prompts is a resolved prompts.jsonl; nil means the PromptSource of the same name in this spec.
	Prompts          *Artifact `json:"prompts,omitempty"`
	SamplesPerPrompt int       `json:"samplesPerPrompt"`
	Sampling         Sampling  `json:"sampling"`
	Seeds            SeedRule  `json:"seeds"`
	// KeepLatents is true for training sets: a sample that was stored without its latent counts as missing.
	KeepLatents bool `json:"keepLatents,omitempty"`
}

// SeedRule says where a set's seeds come from: see Seed.
type SeedRule struct {
	// Seed is the run's (training sets) or the evaluation's seed.
	Seed uint64 `json:"seed"`
	// Iteration is 0 for evaluation sets, whose seeds never change.
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
}

// ScoreSpec merges track parts and scores them.
type ScoreSpec struct {
	Prompts Artifact `json:"prompts"`
	Index   Artifact `json:"index"`
	// Tracks are the manifests of all track shards; each names its part file.
	Tracks []Artifact `json:"tracks"`
	// MinUsableFrames below which a sample is INVALID (method: 20).
	MinUsableFrames int `json:"minUsableFrames"`
	// MaxInvalidFraction, a decimal: more INVALID samples than that end the stage with ExitBadInput.
	MaxInvalidFraction string `json:"maxInvalidFraction"`
}

// PairSpec builds pairs, from Sources or from Import.
type PairSpec struct {
	Sources []PairSource `json:"sources,omitempty"`
	// Import is a pairs.jsonl to check and adopt.
	Import *Artifact `json:"import,omitempty"`
	// Thresholds are decimals: winner >= WinnerThreshold, loser < LoserThreshold.
	WinnerThreshold string `json:"winnerThreshold,omitempty"`
	LoserThreshold  string `json:"loserThreshold,omitempty"`
}

// PairSource is one iteration's scores. Pairs are formed within an iteration only.
type PairSource struct {
	Iteration int      `json:"iteration"`
	Scores    Artifact `json:"scores"`
}

// TrainSpec fine-tunes a LoRA with zeroth-order-regularized DPO; the reference is always the base.
type TrainSpec struct {
	Prompts          Artifact `json:"prompts"`
	Pairs            Artifact `json:"pairs"`
	Model            Model    `json:"model"`
	NumericsRevision string   `json:"numericsRevision"`
	// StartAdapter is nil for a fresh adapter.
	StartAdapter *Artifact `json:"startAdapter,omitempty"`
	// Seed and Iteration seed every draw.
	Seed      uint64   `json:"seed"`
	Iteration int      `json:"iteration"`
	Training  Training `json:"training"`
}

// Training holds the hyperparameters. Decimals are strings.
type Training struct {
	Steps        int    `json:"steps"`
	PairsPerStep int    `json:"pairsPerStep"`
	LearningRate string `json:"learningRate"`
	Beta         string `json:"beta"`
	Lambda       string `json:"lambda"`
	MarginClip   string `json:"marginClip"`
	LoRARank     int    `json:"loraRank"`
	LoRAAlpha    int    `json:"loraAlpha"`
}
