package dsr

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestMeasure(t *testing.T) {
	square := func(x, y, side float64) Box { return Box{x, y, x + side, y + side} }
	object := square(100, 0, 20)
	for name, c := range map[string]struct {
		frames []Frame
		want   Motion
	}{
		"nothing":     {nil, Motion{}},
		"only object": {[]Frame{{0, Box{}, object}, {1, Box{}, object}}, Motion{}},
		"nothing moves": {
			[]Frame{{0, square(0, 0, 10), object}, {1, square(0, 0, 10), object}},
			Motion{SubjectJump: 0, ObjectDrift: 0, AreaRatio: 1},
		},
		"the largest of two steps, 3-4-5, in sizes of 10": {
			[]Frame{{0, square(0, 0, 10), object}, {1, square(30, 40, 10), object}, {2, square(33, 44, 10), object}},
			Motion{SubjectJump: 5, AreaRatio: 1},
		},
		"a step over a gap of five frames counts per frame": {
			[]Frame{{0, square(0, 0, 10), object}, {2, Box{}, object}, {5, square(50, 0, 10), object}},
			Motion{SubjectJump: 1, AreaRatio: 1},
		},
		"the size is the mean of both boxes": {
			[]Frame{{0, square(0, 0, 10), object}, {1, square(35, -5, 20), object}},
			Motion{SubjectJump: 40.0 / 15, AreaRatio: 0.25},
		},
		"the object drifts from its first box, not from its last": {
			[]Frame{{0, square(0, 0, 10), object}, {1, square(0, 0, 10), square(110, 0, 20)}, {2, square(0, 0, 10), square(120, 0, 20)}},
			Motion{ObjectDrift: 1, AreaRatio: 1},
		},
		"the worse of both roles": {
			[]Frame{{0, square(0, 0, 10), object}, {1, square(1, 1, 8), Box{105, 5, 115, 15}}},
			Motion{AreaRatio: 0.25},
		},
		"boxes without an area do not count": {
			[]Frame{{0, square(0, 0, 10), object}, {1, Box{500, 0, 500, 10}, object}, {2, square(0, 0, 10), object}},
			Motion{AreaRatio: 1},
		},
	} {
		got := Measure(c.frames)
		for _, pair := range [][2]float64{
			{got.SubjectJump, c.want.SubjectJump}, {got.ObjectDrift, c.want.ObjectDrift}, {got.AreaRatio, c.want.AreaRatio},
		} {
			if math.Abs(pair[0]-pair[1]) > 1e-12 {
				t.Errorf("%s: %+v, want %+v", name, got, c.want)
				break
			}
		}
	}
}

func TestMotionIsFiniteAndInRange(t *testing.T) {
	coordinate := rapid.OneOf(rapid.Float64(), rapid.Float64Range(-1e-9, 1e-9), rapid.Float64Range(-2e9, 2e9))
	rapid.Check(t, func(t *rapid.T) {
		frames := make([]Frame, rapid.IntRange(0, 8).Draw(t, "n"))
		for k := range frames {
			frames[k].Index = rapid.IntRange(0, 5).Draw(t, "index")
			for side := range 4 {
				frames[k].Subject[side] = coordinate.Draw(t, "subject")
				frames[k].Object[side] = coordinate.Draw(t, "object")
			}
		}
		SortFrames(frames)
		m := Measure(frames)
		for _, v := range []float64{m.SubjectJump, m.ObjectDrift, m.AreaRatio} {
			if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
				t.Fatalf("%+v", m)
			}
		}
		if m.AreaRatio > 1 {
			t.Fatalf("%+v", m)
		}
	})
}
