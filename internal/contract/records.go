package contract

import "encoding/json"

// The lines of the JSONL files that stages exchange.

// IndexLine is one sample of a set (index.jsonl). Lines are ordered by sampleID.
type IndexLine struct {
	// SampleID is the sample's key (see SampleKey) inside runs, any unique key elsewhere.
	SampleID string `json:"sampleID"`
	PromptID string `json:"promptID"`
	Seed     uint64 `json:"seed"`
	// Video names the video directly (videos that users bring). Without it the sample's sidecar does.
	Video *Artifact `json:"video,omitempty"`
}

// Sidecar is written last, create-if-absent, at SidecarKey(sampleID), and says what the sample is.
type Sidecar struct {
	SampleID string   `json:"sampleID"`
	PromptID string   `json:"promptID"`
	Seed     uint64   `json:"seed"`
	Sampling Sampling `json:"sampling"`
	// Video and Latent are files at keys unique to the pod that wrote them.
	Video  File  `json:"video"`
	Latent *File `json:"latent,omitempty"`
	// Width, Height in pixels; FrameCount of the video.
	Width      int `json:"width"`
	Height     int `json:"height"`
	FrameCount int `json:"frameCount"`
	// Provenance that does not enter the key: image, device, backend. ProvenanceDevice names the GPU model.
	Provenance map[string]string `json:"provenance,omitempty"`
}

// ProvenanceDevice is where a sidecar's provenance names the GPU model that made the sample; see ValidDevice.
const ProvenanceDevice = "device"

// Statuses of a track line and of a score line.
const (
	StatusTracked = "Tracked"
	StatusScored  = "Scored"
	StatusInvalid = "Invalid"
	StatusMissing = "Missing"
)

// Reasons why a sample is INVALID.
const (
	ReasonNoVideo                = "NoVideo"
	ReasonTooManyRedundantFrames = "TooManyRedundantFrames"
	ReasonTooFewValidFrames      = "TooFewValidFrames"
	ReasonNoStableRun            = "NoStableRun"
	ReasonTooFewUsableFrames     = "TooFewUsableFrames"
)

// Box is [left, top, right, bottom] in pixels, y pointing down.
type Box [4]float64

// TrackLine is one sample of tracks/part-<shard>.jsonl.
type TrackLine struct {
	SampleID   string       `json:"sampleID"`
	PromptID   string       `json:"promptID"`
	Seed       uint64       `json:"seed"`
	Width      int          `json:"width"`
	Height     int          `json:"height"`
	FrameCount int          `json:"frameCount"`
	Status     string       `json:"status"`
	Reason     string       `json:"reason"`
	Frames     []TrackFrame `json:"frames"`
	// Counts are what the tracker's detector found, where it tells.
	Counts *FrameCounts `json:"counts,omitempty"`
	// Guards are what the tracker measured of the video beside the boxes, by the names of TrackGuards. What it did not measure, or
	// could not of this video, is left out. INVALID samples may have them too.
	Guards map[string]float64 `json:"guards,omitempty"`
}

// FrameCounts say what the frames of a video were to the detector; together they are all of its frames.
type FrameCounts struct {
	Valid     int `json:"valid"`     // exactly the subject and the object were found
	Redundant int `json:"redundant"` // something else was found as well
	Miss      int `json:"miss"`      // fewer than two things were found
	// Unseen frames were not looked at, as the reason of an INVALID sample was certain: the other counts are partial then.
	Unseen int `json:"unseen"`
}

// TrackGuards are the guard metrics that a tracker with the weights for them may put into its lines; better when higher, within
// -1 to 1.
var TrackGuards = []string{"clipIQAQuality", "clipIQANatural", "identityConsistency"}

// TrackFrame holds the boxes of one frame; a role without a box is absent.
type TrackFrame struct {
	Index   int  `json:"index"`
	Subject *Box `json:"subject,omitempty"`
	Object  *Box `json:"object,omitempty"`
}

// KeptTracks is the file at TrackFileKey that keeps the tracks of a video. Nothing vouches for it from outside, so that it
// says itself whose tracks it holds and what they are: one that was damaged, or moved, is noticed.
type KeptTracks struct {
	// TrackKey of the video, the detector and what it looked for.
	TrackKey string `json:"trackKey"`
	// Digest of Line's bytes.
	Digest string `json:"digest"`
	// Line is a TrackLine. Its sampleID, promptID and seed mean nothing: several samples may have the same video.
	Line json.RawMessage `json:"line"`
}

// ScoreLine is one sample of scores.jsonl. Score and Terms are absent unless Status is Scored.
type ScoreLine struct {
	SampleID     string   `json:"sampleID"`
	PromptID     string   `json:"promptID"`
	Seed         uint64   `json:"seed"`
	Status       string   `json:"status"`
	Reason       string   `json:"reason"`
	Score        *float64 `json:"score,omitempty"`
	Terms        *Terms   `json:"terms,omitempty"`
	UsableFrames int      `json:"usableFrames"`
}

// Terms of the DSR-Score.
type Terms struct {
	Initial    float64 `json:"initial"`
	InitialGap float64 `json:"initialGap"`
	Final      float64 `json:"final"`
	FinalGap   float64 `json:"finalGap"`
}

// PairLine is one preference pair of pairs.jsonl.
type PairLine struct {
	PromptID    string  `json:"promptID"`
	Iteration   int     `json:"iteration"`
	Winner      string  `json:"winner"` // sampleID
	Loser       string  `json:"loser"`  // sampleID
	WinnerScore float64 `json:"winnerScore"`
	LoserScore  float64 `json:"loserScore"`
}

// PromptLine is one prompt of prompts.jsonl.
type PromptLine struct {
	PromptID string `json:"promptID"`
	// Type is one of LR LT RL RT TL TR: initial and final relation.
	Type    string `json:"type"`
	Subject string `json:"subject"`
	Object  string `json:"object"`
	Scene   string `json:"scene,omitempty"`
	Prompt  string `json:"prompt"`
}

// Verdict is verdict.json of the stage compare: how the candidate's accuracy differs from the best one's.
type Verdict struct {
	// Threshold, Confidence, Resamples and Seed are the spec's.
	Threshold  string `json:"threshold"`
	Confidence string `json:"confidence"`
	Resamples  int    `json:"resamples"`
	Seed       uint64 `json:"seed"`
	// Prompts and Samples that both evaluations have.
	Prompts   int         `json:"prompts"`
	Samples   int         `json:"samples"`
	Best      VerdictSide `json:"best"`
	Candidate VerdictSide `json:"candidate"`
	// Delta is the candidate's accuracy less the best one's, between one-sided bounds of the Confidence each.
	// Decimals with at most six digits after the point.
	Delta      string `json:"delta"`
	LowerBound string `json:"lowerBound"`
	UpperBound string `json:"upperBound"`
}

// VerdictSide is one of the evaluations compared.
type VerdictSide struct {
	Scores    Artifact `json:"scores"`
	Successes int      `json:"successes"`
	Accuracy  string   `json:"accuracy"`
	// Devices are the GPU models that made the samples, sorted: the first MaxDevices. Samples that tell none do not count.
	Devices []string `json:"devices,omitempty"`
}
