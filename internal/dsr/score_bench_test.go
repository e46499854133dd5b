package dsr

import "testing"

// BenchmarkScore is the cost of one sample of 81 decoded, ordered frames: the score alone, and with
// the guard metrics.
func BenchmarkScore(b *testing.B) {
	frames := walk(81)
	t := Type{Left, Right}
	b.Run("score", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if r := Evaluate(t, frames, MinUsableFrames); r.Reason != "" {
				b.Fatal(r.Reason)
			}
		}
	})
	b.Run("score+guards", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			SortFrames(frames)
			Evaluate(t, frames, MinUsableFrames)
			Measure(frames)
		}
	})
}

// walk is a subject of 80 x 60 pixels that walks from the left of an object to its right.
func walk(n int) []Frame {
	var frames []Frame
	for k := range n {
		x := 100 + 5*float64(k)
		frames = append(frames, Frame{Index: k, Subject: Box{x, 200, x + 80, 260}, Object: Box{300, 190, 400, 270}})
	}
	return frames
}
