package scoring

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/dsr"
	"github.com/spatialalign/operator/internal/pairing"
)

// walk is a subject that walks from the left of an object to its right within n frames.
func walk(n int) *contract.TrackLine {
	track := &contract.TrackLine{SampleID: "s", PromptID: "p", Seed: 7, FrameCount: n, Status: contract.StatusTracked}
	for k := range n {
		x := 10 * float64(k)
		track.Frames = append(track.Frames, contract.TrackFrame{Index: k, Subject: &contract.Box{x, 0, x + 10, 10}, Object: &contract.Box{100, 0, 110, 10}})
	}
	return track
}

func TestScore(t *testing.T) {
	scorer := NewScorer(dsr.MinUsableFrames)
	score, terms := 1.0, contract.Terms{Initial: 1, InitialGap: 1, Final: 1, FinalGap: 1}
	valid := contract.ScoreLine{
		SampleID: "s", PromptID: "p", Seed: 7, Status: contract.StatusScored, Score: &score, Terms: &terms, UsableFrames: 21,
	}
	invalid := func(reason string, usable int) contract.ScoreLine {
		return contract.ScoreLine{SampleID: "s", PromptID: "p", Seed: 7, Status: contract.StatusInvalid, Reason: reason, UsableFrames: usable}
	}
	shuffled := walk(21)
	shuffled.Frames[0], shuffled.Frames[20] = shuffled.Frames[20], shuffled.Frames[0]
	hidden := walk(21)
	hidden.Frames[3].Subject, hidden.Frames[9].Object = nil, nil
	for _, c := range []struct {
		name  string
		track *contract.TrackLine
		want  contract.ScoreLine
	}{
		{"a perfect walk", walk(21), valid},
		{"frames in any order", shuffled, valid},
		{"too few frames with both", hidden, invalid(contract.ReasonTooFewUsableFrames, 19)},
		{"what the tracker refused stays so", &contract.TrackLine{
			SampleID: "s", PromptID: "p", Seed: 7, Status: contract.StatusInvalid, Reason: contract.ReasonNoVideo, Frames: walk(21).Frames,
		}, invalid(contract.ReasonNoVideo, 0)},
		{"nothing is left of the sample before", walk(21), valid},
	} {
		got := scorer.Score(dsr.Type{Initial: dsr.Left, Final: dsr.Right}, c.track)
		if diff := cmp.Diff(c.want, got.Line); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
		if want := (dsr.Motion{SubjectJump: 1, AreaRatio: 1}); c.want.Status == contract.StatusScored && got.Motion != want {
			t.Errorf("%s: guards %+v, want %+v", c.name, got.Motion, want)
		}
	}
}

func TestSummary(t *testing.T) {
	scorer := NewScorer(dsr.MinUsableFrames)
	var s Summary
	for _, kind := range []dsr.Type{{Initial: dsr.Left, Final: dsr.Right}, {Initial: dsr.Right, Final: dsr.Left}} {
		sample := scorer.Score(kind, walk(21))
		s.Add(&sample)
	}
	refused := scorer.Score(dsr.Type{Initial: dsr.Left, Final: dsr.Right}, walk(5))
	missing := Missing(contract.IndexLine{SampleID: "m", PromptID: "p", Seed: 9})
	s.Add(&refused)
	s.Add(&missing)

	wantCounts := map[string]int64{"total": 4, "scored": 2, "invalid": 1, "missing": 1}
	if diff := cmp.Diff(wantCounts, s.Counts()); diff != "" {
		t.Error(diff)
	}
	want := map[string]string{
		"meanScore": "0.5", "guard/validFraction": "0.5",
		"guard/subjectJump": "1", "guard/objectDrift": "0", "guard/areaRatio": "1",
		"accuracy/0.0": "0.5", "accuracy/0.1": "0.25", "accuracy/0.2": "0.25", "accuracy/0.3": "0.25", "accuracy/0.4": "0.25",
		"accuracy/0.5": "0.25", "accuracy/0.6": "0.25", "accuracy/0.7": "0.25", "accuracy/0.8": "0.25", "accuracy/0.9": "0.25",
	}
	if diff := cmp.Diff(want, s.Metrics()); diff != "" {
		t.Error(diff)
	}
	var empty Summary
	if metrics := empty.Metrics(); metrics["accuracy/0.7"] != "0" || metrics["meanScore"] != "" || metrics["guard/areaRatio"] != "" {
		t.Errorf("metrics of nothing: %v", metrics)
	}
}

// TestTrackGuards: what trackers measure is averaged over the samples that have it, valid or not.
func TestTrackGuards(t *testing.T) {
	scorer := NewScorer(dsr.MinUsableFrames)
	var s Summary
	for n, guards := range map[int]map[string]float64{
		21: {"clipIQAQuality": 0.75, "identityConsistency": 0.9}, 5: {"clipIQAQuality": 0.25}, 22: nil,
	} {
		track := walk(n)
		track.Guards = guards
		sample := scorer.Score(dsr.Type{Initial: dsr.Left, Final: dsr.Right}, track)
		s.Add(&sample)
	}
	m := s.Metrics()
	if m["guard/clipIQAQuality"] != "0.5" || m["guard/identityConsistency"] != "0.9" || m["guard/clipIQANatural"] != "" {
		t.Errorf("metrics %v", m)
	}
}

func TestDecimal(t *testing.T) {
	for value, want := range map[float64]string{0: "0", 1: "1", 0.675: "0.675", 1.0 / 3: "0.333333", 100: "100", -1e-9: "0", 2.5e-6: "0.000003"} {
		if got := Decimal(value); got != want {
			t.Errorf("Decimal(%v) = %s, want %s", value, got, want)
		}
	}
}

func TestPairingSample(t *testing.T) {
	score := 0.9
	for _, c := range []struct {
		line contract.ScoreLine
		want pairing.Sample
	}{
		{contract.ScoreLine{SampleID: "s", PromptID: "p", Status: contract.StatusScored, Score: &score}, pairing.Sample{ID: "s", PromptID: "p", Score: 0.9}},
		{contract.ScoreLine{SampleID: "s", PromptID: "p", Status: contract.StatusInvalid}, pairing.Sample{ID: "s", PromptID: "p", Status: pairing.Invalid}},
		{contract.ScoreLine{SampleID: "s", PromptID: "p", Status: contract.StatusMissing}, pairing.Sample{ID: "s", PromptID: "p", Status: pairing.Missing}},
	} {
		if got := PairingSample(c.line); got != c.want {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
}

func TestPairLine(t *testing.T) {
	got := PairLine(pairing.Pair{PromptID: "p", Iteration: 2, Winner: pairing.Sample{ID: "a", Score: 0.8}, Loser: pairing.Sample{ID: "b", Score: 0.2}})
	if want := (contract.PairLine{PromptID: "p", Iteration: 2, Winner: "a", Loser: "b", WinnerScore: 0.8, LoserScore: 0.2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
