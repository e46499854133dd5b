package dsr

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"testing"
)

const tolerance = 1e-9

// The repository's own vectors come from testdata/vectors.py.
func TestOwnVectors(t *testing.T) {
	f, err := os.Open("testdata/vectors.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	decoder := json.NewDecoder(f)
	for decoder.More() {
		var vector struct {
			Name, Type string
			Frames     []struct {
				Index           int
				Subject, Object Box
			}
			Score *float64
		}
		if err := decoder.Decode(&vector); err != nil {
			t.Fatal(err)
		}
		var frames []Frame
		for _, f := range vector.Frames {
			frames = append(frames, Frame(f))
		}
		checkVector(t, vector.Name, vector.Type, frames, vector.Score)
	}
}

// The published vectors are not part of the repository: they lie beside the checkout.
func TestPublishedVectors(t *testing.T) {
	f, err := os.Open("../../../shared/vectors/dsr-eval30.jsonl.gz")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("NOT CHECKED: the 146 published vectors (shared/vectors, beside the checkout) are not here")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(z)
	n := 0
	for ; decoder.More(); n++ {
		var vector struct {
			PromptID, Type, Animal, Object string
			Frames                         []struct {
				Frame  int
				Labels []string
				Boxes  []Box
			}
			Score *float64
		}
		if err := decoder.Decode(&vector); err != nil {
			t.Fatal(err)
		}
		var frames []Frame
		for _, f := range vector.Frames {
			frame := Frame{Index: f.Frame}
			if len(f.Labels) == 2 && f.Labels[0] == vector.Animal && f.Labels[1] == vector.Object {
				frame.Subject, frame.Object = f.Boxes[0], f.Boxes[1]
			} else if len(f.Labels) == 2 && f.Labels[1] == vector.Animal && f.Labels[0] == vector.Object {
				frame.Subject, frame.Object = f.Boxes[1], f.Boxes[0]
			}
			frames = append(frames, frame)
		}
		checkVector(t, vector.PromptID, vector.Type, frames, vector.Score)
	}
	if n != 146 {
		t.Errorf("checked %d vectors, want 146", n)
	}
}

func checkVector(t *testing.T, name, typeName string, frames []Frame, want *float64) {
	t.Helper()
	kind, err := ParseType(typeName)
	if err != nil {
		t.Fatal(err)
	}
	SortFrames(frames)
	result := Evaluate(kind, frames, MinUsableFrames)
	score, ok := result.Score()
	switch {
	case ok != (want != nil):
		t.Errorf("%s: %+v, want valid %v", name, result, want != nil)
	case ok && math.Abs(score.Value-*want) > tolerance:
		t.Errorf("%s: score %v, want %v", name, score.Value, *want)
	}
}
