package records

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jsonl"
)

// readAll reads a file with one of the readers of this package.
func readAll[T any](read func(io.Reader, string, func(T) error) error, text string) (lines []T, err error) {
	err = read(strings.NewReader(text), "f.jsonl", func(line T) error {
		lines = append(lines, line)
		return nil
	})
	return lines, err
}

func readTracks(r io.Reader, name string, fn func(contract.TrackLine) error) error {
	return ReadTracks(r, name, func(line *contract.TrackLine) error { return fn(*line) })
}

// roundTrip writes lines as a stage does and wants them back.
func roundTrip[T any](t *testing.T, read func(io.Reader, string, func(T) error) error, lines ...T) {
	t.Helper()
	for k := range lines {
		var b bytes.Buffer
		if err := jsonl.NewEncoder[T](&b).Write(&lines[k]); err != nil {
			t.Fatal(err)
		}
		got, err := readAll(read, b.String())
		if diff := cmp.Diff(lines[k:k+1], got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", b.String(), err, diff)
		}
	}
}

func TestRoundTrips(t *testing.T) {
	score, terms := 0.73, contract.Terms{Initial: 1, InitialGap: -0.25, Final: 0.5, FinalGap: -1}
	roundTrip(t, readTracks,
		contract.TrackLine{
			SampleID: "s", PromptID: "p", Seed: 1<<64 - 1, Width: 832, Height: 480, FrameCount: 3, Status: contract.StatusTracked,
			Frames: []contract.TrackFrame{
				{Index: 2, Subject: &contract.Box{1, 2.5, 3, 4}, Object: &contract.Box{-5, 6, 7.123456789012345, 8}},
				{Index: 0, Object: &contract.Box{0, 0, 0, 0}},
				{Index: 1},
			},
		},
		contract.TrackLine{SampleID: "s", PromptID: "p", Status: contract.StatusInvalid, Reason: contract.ReasonNoStableRun},
		contract.TrackLine{
			SampleID: "s", PromptID: "p", Status: contract.StatusInvalid, Reason: contract.ReasonNoStableRun,
			Guards:     map[string]float64{"clipIQAQuality": 0.5, "identityConsistency": -1},
			FrameCount: 81, Counts: &contract.FrameCounts{Valid: 3, Redundant: 17, Miss: 1, Unseen: 60},
		},
	)
	roundTrip(t, ReadScores,
		contract.ScoreLine{SampleID: "s", PromptID: "p", Seed: 7, Status: contract.StatusScored, Score: &score, Terms: &terms, UsableFrames: 79},
		contract.ScoreLine{SampleID: "s<&>", PromptID: "p", Status: contract.StatusInvalid, Reason: contract.ReasonNoVideo},
		contract.ScoreLine{SampleID: "s", PromptID: "p", Status: contract.StatusMissing},
	)
	roundTrip(t, ReadPairs, contract.PairLine{PromptID: "p", Iteration: 3, Winner: "a", Loser: "b", WinnerScore: 0.9, LoserScore: 0.1})
	roundTrip(t, ReadIndex,
		contract.IndexLine{SampleID: "a", PromptID: "p", Seed: 5},
		contract.IndexLine{SampleID: "b", PromptID: "p", Video: &contract.Artifact{Key: "videos/b.mp4", Digest: "sha256:00"}},
	)
}

func TestTracksMayStandInAnyOrderAndHaveNullFrames(t *testing.T) {
	got, err := readAll(readTracks, `{"frames":null,"status":"Invalid","reason":"NoVideo","seed":0,"promptID":"p","sampleID":"s"}`)
	want := []contract.TrackLine{{SampleID: "s", PromptID: "p", Status: "Invalid", Reason: "NoVideo"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestBadTracks(t *testing.T) {
	const begin = `{"sampleID":"s","promptID":"p","seed":0,"status":"Tracked","frameCount":3,"frames":[`
	for text, message := range map[string]string{
		`{"sampleID":"s","promptID":"p","seed":0}`:                                           `field "status" is missing`,
		`{"sampleID":"","promptID":"p","seed":0,"status":"Tracked"}`:                         "sampleID: must not be empty",
		`{"sampleID":"s","promptID":"p","seed":-1,"status":"Tracked"}`:                       "seed: want a whole number",
		`{"sampleID":"s","promptID":"p","seed":0,"status":"Scored"}`:                         `status: "Scored" is none of ["Tracked" "Invalid"]`,
		`{"sampleID":"s","promptID":"p","seed":0,"status":"Invalid","reason":"Rain"}`:        `reason: "Rain" is none of`,
		`{"sampleID":"s","promptID":"p","seed":0,"status":"Invalid"}`:                        `status Invalid and reason "" do not fit`,
		`{"sampleID":"s","promptID":"p","seed":0,"status":"Tracked","reason":"NoVideo"}`:     `status Tracked and reason "NoVideo" do not fit`,
		`{"sampleID":"s","promptID":"p","seed":0,"status":"Tracked","width":1e3}`:            "width: want a whole number from 0 to 65536",
		`{"sampleID":"s","promptID":"p","seed":0,"status":"Tracked","score":1}`:              `unknown field "score"`,
		`{"sampleID":"s","promptID":"p","seed":0,"status":"Tracked","frames":[{"index":0}]}`: "frame 0 lies outside the 0 frames",
		begin + `],"counts":{"valid":1,"redundant":1,"miss":1}}`:                             `field "unseen" is missing`,
		begin + `],"counts":{"valid":1,"redundant":1,"miss":1,"unseen":1}}`:                  "are not those of 3 frames",
		begin + `],"guards":{"beauty":1}}`:                                                   `unknown field "beauty"`,
		begin + `],"guards":{"clipIQAQuality":1.1}}`:                                         "clipIQAQuality: clipIQAQuality is outside -1 to 1",
		begin + `],"guards":{"clipIQAQuality":null}}`:                                        "clipIQAQuality: want a number",
		begin + `],"guards":null}`:                                                           "guards: want an object",
		begin + `{"index":3}]}`:                                                              "frame 3 lies outside the 3 frames",
		begin + `{"index":1},{"index":0},{"index":1}]}`:                                      "frame 1 is given twice",
		begin + `{"subject":[0,0,1,1]}]}`:                                                    `field "index" is missing`,
		begin + `{"index":1,"subject":[0,0,1]}]}`:                                            "subject: a box has four numbers",
		begin + `{"index":1,"subject":[0,0,1,1,1]}]}`:                                        "subject: a box has four numbers",
		begin + `{"index":1,"object":null}]}`:                                                "object: want an array, found 'n'",
		begin + `{"index":1,"object":[0,0,1,NaN]}]}`:                                         "object: want a number, found 'N'",
		begin + `{"index":1,"object":[0,0,1,1e400]}]}`:                                       "object: 1e400 is too large",
		begin + `{"index":1,"subject":[0,0,1,1],"subject":[]}]}`:                             `field "subject" is given twice`,
	} {
		_, err := readAll(readTracks, "\n"+text+"\n")
		wantError(t, text, err, message)
	}
}

func TestBadScores(t *testing.T) {
	const begin = `{"sampleID":"s","promptID":"p","seed":0,"status":`
	const terms = `"terms":{"initial":0,"initialGap":0,"final":0,"finalGap":0}`
	for text, message := range map[string]string{
		begin + `"Scored"}`:                                  "exactly a Scored sample has a score and terms",
		begin + `"Scored","score":0.5}`:                      "exactly a Scored sample has a score and terms",
		begin + `"Invalid","reason":"NoVideo","score":0.5}`:  "exactly a Scored sample has a score and terms",
		begin + `"Scored","score":-100,` + terms + `}`:       "score: -100 is outside [0, 1]",
		begin + `"Scored","score":1.01,` + terms + `}`:       "score: 1.01 is outside [0, 1]",
		begin + `"Scored","score":null,` + terms + `}`:       "score: want a number, found 'n'",
		begin + `"Scored","score":1,"terms":{"initial":1}}`:  `field "initialGap" is missing`,
		begin + `"Scored","score":1,"terms":{"initial":-2}}`: "initial: -2 is outside [-1, 1]",
		begin + `"Missing","reason":"NoVideo"}`:              "exactly an Invalid sample has a reason",
		begin + `"Invalid"}`:                                 "exactly an Invalid sample has a reason",
		begin + `"Tracked"}`:                                 `status: "Tracked" is none of`,
	} {
		_, err := readAll(ReadScores, "\n"+text+"\n")
		wantError(t, text, err, message)
	}
}

func TestBadPairsAndIndexes(t *testing.T) {
	for text, message := range map[string]string{
		`{"promptID":"p","iteration":1,"winner":"a","loser":"b","winnerScore":0.5}`:                   `field "loserScore" is missing`,
		`{"promptID":"p","iteration":1,"winner":"a","loser":"b","winnerScore":0.5,"loserScore":0.5}`:  "the winner's score 0.5 is not above the loser's 0.5",
		`{"promptID":"p","iteration":1,"winner":"","loser":"b","winnerScore":0.5,"loserScore":0.1}`:   "winner: must not be empty",
		`{"promptID":"p","iteration":-1,"winner":"a","loser":"b","winnerScore":0.5,"loserScore":0.1}`: "iteration: want a whole number",
	} {
		_, err := readAll(ReadPairs, "\n"+text+"\n")
		wantError(t, text, err, message)
	}
	for text, message := range map[string]string{
		`{"sampleID":"s","promptID":"p"}`:                                         `field "seed" is missing`,
		`{"sampleID":"s","promptID":"p","seed":0,"video":{"key":"../x"}}`:         "key: artifact key",
		`{"sampleID":"s","promptID":"p","seed":0,"video":{"digest":"x"}}`:         `field "key" is missing`,
		`{"sampleID":"` + strings.Repeat("s", 513) + `","promptID":"p","seed":0}`: "sampleID: the text is longer than 512 bytes",
	} {
		_, err := readAll(ReadIndex, "\n"+text+"\n")
		wantError(t, text, err, message)
	}
}

func TestIndexMustBeOrdered(t *testing.T) {
	line := func(id string) string { return `{"sampleID":"` + id + `","promptID":"p","seed":0}` + "\n" }
	for _, text := range []string{line("a") + line("a"), line("b") + line("a")} {
		_, err := readAll(ReadIndex, text)
		wantError(t, text, err, "must come after sample")
	}
	if lines, err := readAll(ReadIndex, line("a")+line("b")); err != nil || len(lines) != 2 {
		t.Errorf("%v, %v", lines, err)
	}
}

// wantError wants the message and the place: line 2 of the file.
func wantError(t *testing.T, text string, err error, message string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), message) || !strings.HasPrefix(err.Error(), "f.jsonl:2: column ") {
		t.Errorf("%s: error %v, want f.jsonl:2: column ...: %s", text, err, message)
	}
}
