package contract

// Manifest is what a stage (one shard of it) writes last. Without a valid one the stage did not happen.
type Manifest struct {
	ContractVersion string `json:"contractVersion"`
	Stage           Stage  `json:"stage"`
	SpecDigest      string `json:"specDigest"`
	Attempt         int    `json:"attempt"`
	PodUID          string `json:"podUID"`
	Shard           int    `json:"shard"`
	Shards          int    `json:"shards"`
	// Inputs are the digests of what was read, by key.
	Inputs map[string]string `json:"inputs,omitempty"`
	// Outputs are the stage's named artifacts: see Termination.
	Outputs map[string]Artifact `json:"outputs"`
	Counts  map[string]int64    `json:"counts,omitempty"`
	Metrics map[string]string   `json:"metrics,omitempty"`
	// Devices are GPU models by what they made: see Termination.
	Devices map[string][]string `json:"devices,omitempty"`
	// Files are all files written, at most 1,000.
	Files []File `json:"files"`
}

// File is one file that a manifest vouches for.
type File struct {
	Key    string `json:"key"`
	Size   int64  `json:"size"`
	Digest string `json:"digest"`
}

// Termination is the container's last word: at most MaxTermination bytes of JSON.
type Termination struct {
	// Class is ExitCode.Class().
	Class string `json:"class"`
	// Message says, on failure, what was wrong, where, and what to do.
	Message string `json:"message,omitempty"`
	// Manifest is this shard's manifest; set exactly on success.
	Manifest *Artifact `json:"manifest,omitempty"`
	// Outputs by name. prepare: prompts/<name>, index/<name>; score: scores; pair: pairs; train: adapter, metrics; compare: verdict;
	// lineage: lineage, modelCard.
	// sample and track shards have none here: their manifests name what they wrote.
	Outputs map[string]Artifact `json:"outputs,omitempty"`
	// Counts. prepare: <set>/total, <set>/missing, <source>/prompts; sample: total, generated, reused;
	// track: total, tracked, invalid, reused; score: total, scored, invalid, missing;
	// pair: pairs, prompts, usablePrompts, and winners, losers, invalid, missing (also as latest/<name>: of the newest
	// iteration alone); train: steps; compare: prompts, samples.
	Counts map[string]int64 `json:"counts,omitempty"`
	// Metrics are decimals. score: meanScore, accuracy/0.0 ... accuracy/0.9, guard/<name>; train: loss, margin, regularizer;
	// compare: delta, lowerBound, upperBound.
	Metrics map[string]string `json:"metrics,omitempty"`
	// Devices are GPU models by what they made, at most MaxDevices each. compare: best and candidate, where the sidecars tell.
	Devices map[string][]string `json:"devices,omitempty"`
}

// Progress is what GET :9400/progress answers. Readers trust none of it.
type Progress struct {
	Done                      int64    `json:"done"`
	Total                     int64    `json:"total"`
	Unit                      string   `json:"unit"`
	ProgressPercentage        int32    `json:"progressPercentage"`
	EstimatedRemainingSeconds int64    `json:"estimatedRemainingSeconds"`
	Metrics                   []Metric `json:"metrics,omitempty"`
	LastCheckpointTime        string   `json:"lastCheckpointTime,omitempty"`
}

// Metric is one named decimal of a Progress.
type Metric struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}
