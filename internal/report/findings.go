package report

// Findings is what the store tells about a run.
type Findings struct {
	Iterations []IterationFindings `json:"iterations"`
	Galleries  []Gallery           `json:"galleries,omitempty"`
	// Problems name what is missing or damaged; the rest of the report does without.
	Problems []string `json:"problems,omitempty"`
}

// IterationFindings of one iteration.
type IterationFindings struct {
	Iteration  int32   `json:"iteration"`
	Samples    *Scores `json:"samples,omitempty"`
	Evaluation *Scores `json:"evaluation,omitempty"`
	// Training is the course of the training, at most maxPoints of its steps.
	Training []Point `json:"training,omitempty"`
}

// Bins of a score histogram: each is 0.05 wide, the last includes 1.
const Bins = 20

// Scores of a set of samples.
type Scores struct {
	Bins    [Bins]int64 `json:"bins"`
	Invalid int64       `json:"invalid"`
	Missing int64       `json:"missing"`
	// Groups are parts of an evaluation set, by classes seen in training and by relation.
	Groups []Group `json:"groups,omitempty"`
}

// Group counts how many samples of a part reach the headline threshold.
type Group struct {
	Name    string `json:"name"`
	Reached int64  `json:"reached"`
	Total   int64  `json:"total"`
}

// Names of groups that are no relation.
const (
	// GroupSeen holds the prompts whose subject and object both occur in the training prompts.
	GroupSeen = "seen classes"
	// GroupUnseen holds the prompts with a subject or an object that no training prompt has.
	GroupUnseen = "unseen classes"
)

// Point is what the training reported at one step.
type Point struct {
	Step   int64              `json:"step"`
	Values map[string]float64 `json:"values"`
}

// Kinds of galleries.
const (
	// BeforeAfter shows the base model (left) and an aligned one (right) for the same prompt and seed.
	BeforeAfter = "BeforeAfter"
	// WinnersLosers shows the best winner (left) and the worst loser (right) of a prompt.
	WinnersLosers = "WinnersLosers"
)

// Gallery is a set of videos side by side.
type Gallery struct {
	Kind string `json:"kind"`
	// Iteration of the right side (BeforeAfter) or of both (WinnersLosers).
	Iteration int32 `json:"iteration"`
	Rows      []Row `json:"rows"`
}

// Row is one prompt of a gallery.
type Row struct {
	PromptID string `json:"promptID"`
	Type     string `json:"type,omitempty"`
	Prompt   string `json:"prompt,omitempty"`
	Left     Clip   `json:"left"`
	Right    Clip   `json:"right"`
}

// Clip is one sample of a gallery.
type Clip struct {
	SampleID string `json:"sampleID"`
	Seed     uint64 `json:"seed"`
	// Score is absent where the sample has none; Status and Reason then say why.
	Score  *float64 `json:"score,omitempty"`
	Status string   `json:"status"`
	Reason string   `json:"reason,omitempty"`
	// Video is absent where it could not be had.
	Video *Video `json:"video,omitempty"`
}

// Video of a clip; its bytes travel beside the findings.
type Video struct {
	Digest string `json:"digest"`
	// MediaType is image/gif, video/mp4 or video/webm, by the content.
	MediaType string `json:"mediaType"`
	Width     int    `json:"width"`
	Height    int    `json:"height"`
}
