package dsr

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestSSR(t *testing.T) {
	object := Box{100, 100, 140, 120} // 40 x 20, centre (120, 110)
	at := func(x, y float64) Box { return Box{x - 20, y - 10, x + 20, y + 10} }
	for name, c := range map[string]struct {
		subject          Box
		left, right, top float64
	}{
		"far right":                  {at(320, 110), -1, 1, 0},
		"far left":                   {at(20, 110), 1, -1, 0},
		"far above":                  {at(120, 10), 0, 0, 1},
		"below":                      {at(120, 200), 0, 0, -1},
		"overlapping by half":        {at(140, 110), -0.5, 0.5, 0},
		"touching above":             {at(120, 90), 0, 0, 1},
		"overlapping above":          {at(120, 105), 0, 0, 0.25},
		"same centre":                {at(120, 110), 0, 0, 0},
		"diagonal, 3-4-5, both far":  {at(120+80, 110-60), -0.8, 0.8, 0.6},
		"diagonal, the width counts": {at(120+20, 110-15), -0.4, 0.4, 0.45},
	} {
		f := Frame{Subject: c.subject, Object: object}
		for relation, want := range map[Relation]float64{Left: c.left, Right: c.right, Top: c.top} {
			if got := SSR(relation, &f); math.Abs(got-want) > 1e-12 {
				t.Errorf("%s: SSR(%s) = %v, want %v", name, relation, got, want)
			}
		}
	}
}

func TestUsableFrames(t *testing.T) {
	good := Box{0, 0, 10, 10}
	nan, inf := math.NaN(), math.Inf(1)
	for name, c := range map[string]struct {
		subject, object Box
		want            bool
	}{
		"two boxes":                   {good, Box{20, 0, 30, 10}, true},
		"no subject":                  {Box{}, good, false},
		"no object":                   {good, Box{}, false},
		"subject one pixel wide":      {Box{5, 0, 5, 10}, good, false},
		"object one pixel wide":       {good, Box{5, 0, 5, 10}, false},
		"one of them without height":  {Box{0, 5, 10, 5}, good, true},
		"both without height":         {Box{0, 5, 10, 5}, Box{20, 5, 30, 5}, false},
		"right of its right edge":     {Box{10, 0, 0, 10}, good, false},
		"upside down":                 {Box{0, 10, 10, 0}, good, false},
		"NaN":                         {Box{0, nan, 10, 10}, good, false},
		"infinite":                    {Box{0, 0, inf, 10}, good, false},
		"minus infinite":              {Box{-inf, 0, 10, 10}, good, false},
		"beyond any video":            {Box{0, 0, 2e9, 10}, good, false},
		"partly outside of the frame": {Box{-50, -50, 10, 10}, good, true},
	} {
		if got := (&Frame{Subject: c.subject, Object: c.object}).Usable(); got != c.want {
			t.Errorf("%s: usable %v, want %v", name, got, c.want)
		}
	}
}

func TestEvaluateTerms(t *testing.T) {
	// Far left for 10 frames, then overlapping the object by half on its right for 10 frames.
	var frames []Frame
	for k := range 20 {
		subject := Box{0, 0, 40, 20}
		if k >= 10 {
			subject = Box{220, 0, 260, 20}
		}
		frames = append(frames, Frame{Index: k, Subject: subject, Object: Box{200, 0, 240, 20}})
	}
	result := Evaluate(Type{Left, Right}, frames, MinUsableFrames)
	got, ok := result.Score()
	want := Score{Value: (1+0.75+0.5+0.75)/8 + 0.5, Terms: Terms{Initial: 1, InitialGap: 0.75, Final: 0.5, FinalGap: 0.75}}
	if !ok || got != want || result.UsableFrames != 20 {
		t.Errorf("score %+v of %d frames, want %+v", got, result.UsableFrames, want)
	}
}

func TestEvaluateInvalid(t *testing.T) {
	for _, c := range []struct{ frames, minUsable, usable int }{
		{0, 20, 0}, {19, 20, 19}, {2, 0, 2}, {2, -5, 2}, {80, 81, 80},
	} {
		result := Evaluate(Type{Left, Right}, walk(c.frames), c.minUsable)
		if _, ok := result.Score(); ok || result.Reason != TooFewUsableFrames || result.UsableFrames != c.usable {
			t.Errorf("%d frames of at least %d: %+v", c.frames, c.minUsable, result)
		}
	}
	if result := Evaluate(Type{Left, Right}, walk(3), 0); result.Reason != "" {
		t.Errorf("three frames are enough for the formulas: %+v", result)
	}
}

func TestEvaluateAllocatesNothing(t *testing.T) {
	frames := walk(81)
	if n := testing.AllocsPerRun(10, func() {
		SortFrames(frames)
		Evaluate(Type{Left, Right}, frames, MinUsableFrames)
		Measure(frames)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// anyFrames draws 20 to 30 frames, some without a box and some with one that has no extent.
func anyFrames() *rapid.Generator[[]Frame] {
	box := rapid.Custom(func(t *rapid.T) Box {
		if rapid.IntRange(0, 9).Draw(t, "absent") == 0 {
			return Box{}
		}
		// Quarters of pixels, so that moving and mirroring a box rounds nothing.
		quarters := func(low, high int, label string) float64 {
			return float64(rapid.IntRange(4*low, 4*high).Draw(t, label)) / 4
		}
		x, y := quarters(-100, 900, "x"), quarters(-100, 500, "y")
		return Box{x, y, x + quarters(0, 300, "width"), y + quarters(0, 300, "height")}
	})
	return rapid.Custom(func(t *rapid.T) []Frame {
		frames := make([]Frame, rapid.IntRange(20, 30).Draw(t, "n"))
		for k := range frames {
			frames[k] = Frame{Index: k, Subject: box.Draw(t, "subject"), Object: box.Draw(t, "object")}
		}
		return frames
	})
}

func anyType() *rapid.Generator[Type] { return rapid.SampledFrom(Types()) }

// change maps every box.
func change(frames []Frame, f func(Box) Box) []Frame {
	changed := make([]Frame, len(frames))
	for k, frame := range frames {
		changed[k] = frame
		if frame.Subject != (Box{}) {
			changed[k].Subject = f(frame.Subject)
		}
		if frame.Object != (Box{}) {
			changed[k].Object = f(frame.Object)
		}
	}
	return changed
}

func wantSame(t *rapid.T, a, b Result) {
	t.Helper()
	x, okX := a.Score()
	y, okY := b.Score()
	if okX != okY || math.Abs(x.Value-y.Value) > 1e-9 {
		t.Fatalf("scores differ: %+v and %+v", a, b)
	}
}

func TestScoreLiesInRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		score, ok := Evaluate(anyType().Draw(t, "type"), anyFrames().Draw(t, "frames"), 3).Score()
		if ok && !(score.Value >= 0 && score.Value <= 1) {
			t.Fatalf("score %v", score)
		}
		for _, term := range []float64{score.Terms.Initial, score.Terms.InitialGap, score.Terms.Final, score.Terms.FinalGap} {
			if !(term >= -1 && term <= 1) {
				t.Fatalf("terms %+v", score.Terms)
			}
		}
	})
}

func TestMirroringSwapsLeftAndRight(t *testing.T) {
	swap := map[Relation]Relation{Left: Right, Right: Left, Top: Top}
	rapid.Check(t, func(t *rapid.T) {
		kind, frames := anyType().Draw(t, "type"), anyFrames().Draw(t, "frames")
		mirrored := change(frames, func(b Box) Box { return Box{832 - b[2], b[1], 832 - b[0], b[3]} })
		wantSame(t, Evaluate(kind, frames, 3), Evaluate(Type{swap[kind.Initial], swap[kind.Final]}, mirrored, 3))
	})
}

func TestScalingAndMovingChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind, frames := anyType().Draw(t, "type"), anyFrames().Draw(t, "frames")
		scale := float64(rapid.IntRange(1, 1000).Draw(t, "scale")) / 8
		dx, dy := float64(rapid.IntRange(-2000, 2000).Draw(t, "dx")), float64(rapid.IntRange(-2000, 2000).Draw(t, "dy"))
		changed := change(frames, func(b Box) Box {
			return Box{b[0]*scale + dx, b[1]*scale + dy, b[2]*scale + dx, b[3]*scale + dy}
		})
		wantSame(t, Evaluate(kind, frames, 3), Evaluate(kind, changed, 3))
	})
}

func TestReversingTheVideoSwapsTheRelations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind, frames := anyType().Draw(t, "type"), anyFrames().Draw(t, "frames")
		reversed := change(frames, func(b Box) Box { return b })
		for k := range reversed {
			reversed[k].Index = len(frames) - 1 - k
		}
		SortFrames(reversed)
		wantSame(t, Evaluate(kind, frames, 3), Evaluate(Type{kind.Final, kind.Initial}, reversed, 3))
	})
}
