package dsr

import (
	"cmp"
	"slices"
)

// Box is [left, top, right, bottom] in pixels, y pointing down. The zero Box means that there is none.
type Box [4]float64

// MaxCoordinate bounds the coordinates, in pixels, that a usable box may have. It lies far beyond any
// video and keeps every formula free of overflow.
const MaxCoordinate = 1e9

// Frame holds the boxes found in one frame of a video.
type Frame struct {
	// Index of the frame in the video, from 0.
	Index           int
	Subject, Object Box
}

// SortFrames orders frames by index, keeping the order of equal ones. Ordered frames cost one pass.
func SortFrames(frames []Frame) {
	byIndex := func(a, b Frame) int { return cmp.Compare(a.Index, b.Index) }
	if !slices.IsSortedFunc(frames, byIndex) {
		slices.SortStableFunc(frames, byIndex)
	}
}

// Usable reports whether the frame can be scored: both boxes are proper, both have a width (so their
// mean width is not zero either), and the mean of their heights is not zero (one of them may be).
func (f *Frame) Usable() bool {
	s, o := &f.Subject, &f.Object
	return s.proper() && o.proper() && s.width() > 0 && o.width() > 0 && (s.height()+o.height())/2 > 0
}

// proper refuses what no detector may report: coordinates that are not finite or beyond
// MaxCoordinate, and boxes whose right is left of their left or whose bottom is above their top.
func (b *Box) proper() bool { // every comparison with NaN is false
	return -MaxCoordinate <= b[0] && b[0] <= b[2] && b[2] <= MaxCoordinate &&
		-MaxCoordinate <= b[1] && b[1] <= b[3] && b[3] <= MaxCoordinate
}

func (b *Box) width() float64  { return b[2] - b[0] }
func (b *Box) height() float64 { return b[3] - b[1] }
func (b *Box) area() float64   { return b.width() * b.height() }

func (b *Box) centre() (x, y float64) { return (b[0] + b[2]) / 2, (b[1] + b[3]) / 2 }
