package stage_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/stage"
)

var keptLine = contract.TrackLine{
	Width: 64, Height: 48, FrameCount: 24, Status: contract.StatusTracked,
	Frames: []contract.TrackFrame{{Index: 3, Subject: &contract.Box{1, 2, 3.5, 4}}, {Index: 4, Object: &contract.Box{5, 6, 7, 8}}},
}

func TestKeptTracks(t *testing.T) {
	s := open(t, t.TempDir())
	key := contract.TrackKey(someDigest, contract.Detector{Name: "d", Digest: someDigest, Revision: "1"}, "cat", "box")
	if _, err := stage.ReadTracks(t.Context(), s, key); !artifact.IsMissing(err) {
		t.Errorf("before they are kept: %v", err)
	}
	keep := func(line contract.TrackLine, replace bool) {
		t.Helper()
		if err := stage.KeepTracks(t.Context(), s, key, &line, replace); err != nil {
			t.Fatal(err)
		}
	}
	is := func(want contract.TrackLine) {
		t.Helper()
		got, err := stage.ReadTracks(t.Context(), s, key)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	named := keptLine
	named.SampleID, named.PromptID, named.Seed = "s", "p", 1
	keep(named, false)
	is(keptLine)
	other := keptLine
	other.Width = 128
	keep(other, false) // the first pod wins
	is(keptLine)
	keep(other, true)
	is(other)
}

func TestDamagedTracksAreCorrupt(t *testing.T) {
	s := open(t, t.TempDir())
	key := contract.TrackKey(someDigest, contract.Detector{Name: "d", Digest: someDigest}, "cat", "box")
	file := func(line string) string {
		data, err := json.Marshal(contract.KeptTracks{TrackKey: key, Digest: contract.Digest([]byte(line)), Line: json.RawMessage(line)})
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	raw, err := json.Marshal(keptLine)
	if err != nil {
		t.Fatal(err)
	}
	good := file(string(raw))
	for name, content := range map[string]string{
		"empty":                      "",
		"truncated":                  good[:len(good)/2],
		"another video's":            strings.Replace(good, key, strings.Repeat("0", 64), 1),
		"another box":                strings.Replace(good, "3.5", "4.5", 1),
		"a frame outside the video":  file(strings.Replace(string(raw), `"index":3`, `"index":24`, 1)),
		"a frame twice":              file(strings.Replace(string(raw), `"index":3`, `"index":4`, 1)),
		"INVALID without a reason":   file(strings.Replace(string(raw), contract.StatusTracked, contract.StatusInvalid, 1)),
		"more than any line may be":  strings.Repeat(" ", 5<<20),
		"tracks and something after": good + good,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := s.Write(t.Context(), contract.TrackFileKey(key), bytes.NewReader([]byte(content))); err != nil {
				t.Fatal(err)
			}
			if line, err := stage.ReadTracks(t.Context(), s, key); !artifact.IsCorrupt(err) {
				t.Errorf("line %v, error %v", line, err)
			}
		})
	}
}
