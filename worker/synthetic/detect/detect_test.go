package detect

import (
	"image"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/worker/synthetic/scene"
)

var (
	cat = scene.RGB{R: 255, G: 128, B: 0}
	log = scene.RGB{R: 0, G: 255, B: 128}
)

// paint draws rectangles of a colour, [left, top, right, bottom] in inclusive pixels.
func paint(frame *image.Paletted, c scene.RGB, boxes ...[4]int) {
	index := uint8(0)
	for i, p := range scene.Palette {
		if r, g, b, _ := p.RGBA(); r>>8 == uint32(c.R) && g>>8 == uint32(c.G) && b>>8 == uint32(c.B) {
			index = uint8(i)
		}
	}
	for _, b := range boxes {
		for y := b[1]; y <= b[3]; y++ {
			for x := b[0]; x <= b[2]; x++ {
				frame.Pix[y*frame.Stride+x] = index
			}
		}
	}
}

func blank() *image.Paletted { return scene.Render(&[scene.KeyFrames]scene.Key{}, scene.OwnSize)[0] }

// The kinds of frame that the rules know.
func valid() *image.Paletted {
	f := blank()
	paint(f, cat, [4]int{5, 30, 12, 35})
	paint(f, log, [4]int{30, 28, 40, 35})
	return f
}

func miss() *image.Paletted {
	f := blank()
	paint(f, log, [4]int{30, 28, 40, 35})
	return f
}

func redundant() *image.Paletted {
	f := valid()
	paint(f, cat, [4]int{50, 30, 55, 35})
	return f
}

func video(counts ...any) (frames []*image.Paletted) {
	for i := 0; i < len(counts); i += 2 {
		for range counts[i].(int) {
			frames = append(frames, counts[i+1].(func() *image.Paletted)())
		}
	}
	return frames
}

func TestRules(t *testing.T) {
	for _, c := range []struct {
		name   string
		frames []*image.Paletted
		want   string
	}{
		{"all valid", video(24, valid), ""},
		{"20 valid", video(4, miss, 20, valid), ""},
		{"19 valid", video(5, miss, 19, valid), contract.ReasonTooFewValidFrames},
		{"16 redundant among many", video(16, redundant, 20, valid), ""},
		{"17 redundant", video(17, redundant, 20, valid), contract.ReasonTooManyRedundantFrames},
		{"redundant comes first", video(17, redundant, 3, valid), contract.ReasonTooManyRedundantFrames},
		{"runs of 3 only", video(3, valid, 1, miss, 3, valid, 1, redundant, 3, valid, 1, miss, 3, valid, 1, miss, 3, valid, 1, miss, 3, valid, 1, miss, 3, valid),
			contract.ReasonNoStableRun},
		{"no frames", nil, contract.ReasonNoVideo},
	} {
		if got := Track(c.frames, cat, log); got.Reason != c.want {
			t.Errorf("%s: reason %q, want %q", c.name, got.Reason, c.want)
		}
	}
}

func TestBoxes(t *testing.T) {
	hidden := blank()
	paint(hidden, cat, [4]int{28, 30, 44, 35})
	paint(hidden, log, [4]int{32, 28, 40, 35}) // the cat looks out on both sides
	speck := miss()
	paint(speck, cat, [4]int{5, 5, 7, 5})
	pale := miss()
	paint(pale, scene.RGB{R: 255, G: 191, B: 0}, [4]int{5, 30, 12, 35}) // a step of the palette off: still a cat
	other := miss()
	paint(other, scene.RGB{R: 255, G: 0, B: 0}, [4]int{5, 30, 12, 35}) // a fox

	object := &contract.Box{30, 28, 40, 35}
	for _, c := range []struct {
		name            string
		frame           *image.Paletted
		subject, object *contract.Box
	}{
		{"both", valid(), &contract.Box{5, 30, 12, 35}, object},
		{"no subject", miss(), nil, object},
		{"two subjects: the box around both", redundant(), &contract.Box{5, 30, 55, 35}, object},
		{"subject behind the object", hidden, &contract.Box{28, 30, 44, 35}, &contract.Box{32, 28, 40, 35}},
		{"three pixels are no detection", speck, nil, object},
		{"a colour almost right", pale, &contract.Box{5, 30, 12, 35}, object},
		{"another animal", other, nil, object},
	} {
		got := Track([]*image.Paletted{c.frame}, cat, log).Frames[0]
		if !same(got.Subject, c.subject) || !same(got.Object, c.object) {
			t.Errorf("%s: subject %v, object %v; want %v, %v", c.name, got.Subject, got.Object, c.subject, c.object)
		}
	}
}

// A box around both would hide that they are two: it is the number that makes a frame redundant.
func TestSpotsThatTouchAtACornerAreOne(t *testing.T) {
	frame := blank()
	paint(frame, cat, [4]int{5, 30, 8, 33}, [4]int{9, 34, 12, 37}, [4]int{20, 30, 23, 33})
	finder := newFinder(frame.Bounds())
	finder.classify(frame, cat, log)
	if _, spots := finder.find(roleSubject); spots != 2 {
		t.Errorf("%d spots, want 2: one joined at a corner, and another", spots)
	}
}

// As near to one as to the other, and near enough.
func TestAColourBetweenTwoWordsIsNeither(t *testing.T) {
	dog, barrel, between := scene.RGB{R: 128}, scene.RGB{R: 128, G: 128}, scene.RGB{R: 128, G: 64}
	if distance(dog, between) != distance(barrel, between) || distance(dog, between) > tolerance {
		t.Fatal("not between them")
	}
	frame := blank()
	paint(frame, between, [4]int{5, 30, 12, 35})
	if frame.Pix[30*frame.Stride+5] == blank().Pix[30*frame.Stride+5] {
		t.Fatal("the palette has no such colour")
	}
	if got := Track([]*image.Paletted{frame}, dog, barrel).Frames[0]; got.Subject != nil || got.Object != nil {
		t.Errorf("subject %v, object %v; want neither", got.Subject, got.Object)
	}
}

func same(a, b *contract.Box) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

// Every word is found where it is drawn, whatever stands beside it.
func TestEveryWordIsFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		subject, object := rapid.SampledFrom(scene.Subjects).Draw(t, "subject"), rapid.SampledFrom(scene.Objects).Draw(t, "object")
		x, y := rapid.IntRange(0, 20).Draw(t, "x"), rapid.IntRange(0, 40).Draw(t, "y")
		frame := blank()
		paint(frame, subject.Color, [4]int{x, y, x + 5, y + 5})
		paint(frame, object.Color, [4]int{40, 20, 50, 30})
		got := Track([]*image.Paletted{frame}, subject.Color, object.Color).Frames[0]
		if want := (contract.Box{float64(x), float64(y), float64(x + 5), float64(y + 5)}); got.Subject == nil || *got.Subject != want {
			t.Errorf("%s is at %v, want %v", subject.Word, got.Subject, want)
		}
		if got.Object == nil || *got.Object != (contract.Box{40, 20, 50, 30}) {
			t.Errorf("%s is at %v", object.Word, got.Object)
		}
	})
}

// Every word is found at any size from half the runtime's own, where it stands.
func TestEveryWordIsFoundAtAnySize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := scene.Size{Frames: 2, Width: rapid.IntRange(32, 300).Draw(t, "width"), Height: rapid.IntRange(24, 300).Draw(t, "height")}
		subject, object := rapid.SampledFrom(scene.Subjects).Draw(t, "subject"), rapid.SampledFrom(scene.Objects).Draw(t, "object")
		var keys [scene.KeyFrames]scene.Key
		for k := range keys {
			keys[k] = scene.Key{Subject: sprite(subject, 12), Object: sprite(object, 46)}
		}
		got := Track(scene.Render(&keys, size), subject.Color, object.Color).Frames[0]
		near(t, "subject "+subject.Word, got.Subject, keys[0].Subject, size)
		near(t, "object "+object.Word, got.Object, keys[0].Object, size)
	})
}

// sprite of a word that stands at x.
func sprite(look scene.Look, x float32) scene.Sprite {
	return scene.Sprite{X: x, Y: 30, Width: look.Width, Height: look.Height,
		R: float32(look.Color.R) / 255, G: float32(look.Color.G) / 255, B: float32(look.Color.B) / 255}
}

// near wants a box within three pixels, or units, of where a sprite is: at small sizes the eye takes its row away.
func near(t *rapid.T, what string, got *contract.Box, s scene.Sprite, size scene.Size) {
	if got == nil {
		t.Fatalf("%s is not found at %d x %d", what, size.Width, size.Height)
	}
	scaleX, scaleY := float64(size.Width)/scene.WorldWidth, float64(size.Height)/scene.WorldHeight
	want := contract.Box{scaleX * float64(s.X-s.Width/2), scaleY * float64(s.Y-s.Height/2), scaleX*float64(s.X+s.Width/2) - 1, scaleY*float64(s.Y+s.Height/2) - 1}
	for i, scale := range []float64{scaleX, scaleY, scaleX, scaleY} {
		if math.Abs(got[i]-want[i]) > 3*max(1, scale) {
			t.Fatalf("%s is at %v, want about %v, at %d x %d", what, *got, want, size.Width, size.Height)
		}
	}
}

// What is drawn here and kept by others: a change voids tracks and must come with a new revision.
func TestIdentity(t *testing.T) {
	want := contract.Detector{Name: "synthetic-colour", Revision: "1",
		Digest: "sha256:ebcaa5320081507ec94b78b9b2851cab51ac78a84fd0e438a09b41674abb5bb4"}
	if got := Identity(); got != want {
		t.Errorf("identity is %+v, was %+v", got, want)
	}
}
