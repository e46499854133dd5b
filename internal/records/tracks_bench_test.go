package records

import (
	"encoding/json"
	"testing"

	"github.com/spatialalign/operator/internal/contract"
)

// BenchmarkDecodeTrack is the cost of one track line of 81 frames.
func BenchmarkDecodeTrack(b *testing.B) {
	track := contract.TrackLine{SampleID: "s", PromptID: "p", FrameCount: 81, Status: contract.StatusTracked}
	for k := range track.FrameCount {
		x := float64(100+5*k) + 0.5
		track.Frames = append(track.Frames, contract.TrackFrame{Index: k, Subject: &contract.Box{x, 150.5, x + 100, 240.5}, Object: &contract.Box{400, 171, 530, 251}})
	}
	text, err := json.Marshal(track)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("ours", func(b *testing.B) {
		var decoder TrackDecoder
		var line contract.TrackLine
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			if err := decoder.Decode(text, &line); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			var line contract.TrackLine
			if err := json.Unmarshal(text, &line); err != nil {
				b.Fatal(err)
			}
		}
	})
}
