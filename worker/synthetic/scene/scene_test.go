package scene_test

import (
	"image"
	"image/color"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/spatialalign/operator/internal/prompts"
	"github.com/spatialalign/operator/worker/synthetic/draw"
	"github.com/spatialalign/operator/worker/synthetic/scene"
)

func TestTheVocabularyIsThatOfGeneratedPrompts(t *testing.T) {
	if got := scene.Words(scene.Subjects); !slices.Equal(got, prompts.Animals()) {
		t.Errorf("subjects are %v, prompts have %v", got, prompts.Animals())
	}
	if got := scene.Words(scene.Objects); !slices.Equal(got, prompts.Objects()) {
		t.Errorf("objects are %v, prompts have %v", got, prompts.Objects())
	}
}

func TestColorsAreTheirOwnAndInThePalette(t *testing.T) {
	seen := map[scene.RGB]string{}
	for _, look := range slices.Concat(scene.Subjects, scene.Objects) {
		if other, ok := seen[look.Color]; ok {
			t.Errorf("%s has the colour of %s", look.Word, other)
		}
		seen[look.Color] = look.Word
		c := color.RGBA{look.Color.R, look.Color.G, look.Color.B, 255}
		if !slices.Contains(scene.Palette, color.Color(c)) {
			t.Errorf("the colour of %s is not in the palette", look.Word)
		}
	}
}

func TestLatentsComeBack(t *testing.T) {
	source := draw.New(draw.Caption, 3)
	for range 50 {
		caption, story := scene.DrawCaption(&source)
		keys := scene.Film(&source, caption, story)
		latent := make([]float32, scene.LatentSize)
		scene.Encode(latent, keys)
		got := scene.Decode(latent)
		for k := range keys {
			if math.Abs(float64(got[k].Subject.X-keys[k].Subject.X)) > 1e-4 || math.Abs(float64(got[k].Object.G-keys[k].Object.G)) > 1e-4 {
				t.Fatalf("key %d: %+v became %+v", k, keys[k], got[k])
			}
		}
	}
}

// Latents are of unit order, as the noise that they are mixed with.
func TestLatentsAreOfUnitOrder(t *testing.T) {
	source := draw.New(draw.Caption, 4)
	latent := make([]float32, scene.LatentSize)
	var sum, square, n float64
	for range 500 {
		caption, story := scene.DrawCaption(&source)
		scene.Encode(latent, scene.Film(&source, caption, story))
		for _, x := range latent {
			sum, square, n = sum+float64(x), square+float64(x*x), n+1
		}
	}
	if mean, second := sum/n, square/n; math.Abs(mean) > 0.3 || second < 0.5 || second > 2.5 {
		t.Errorf("latents have mean %.2f and second moment %.2f", mean, second)
	}
}

func TestRenderTakesAnyLatent(t *testing.T) {
	special := []float32{0, float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.MaxFloat32, -math.MaxFloat32, 1e6}
	rapid.Check(t, func(t *rapid.T) {
		latent := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(special), rapid.Float32Range(-5, 5)), scene.LatentSize, scene.LatentSize).Draw(t, "latent")
		side := rapid.IntRange(1, 100)
		size := scene.Size{Frames: rapid.IntRange(2, 30).Draw(t, "frames"), Width: side.Draw(t, "width"), Height: side.Draw(t, "height")}
		frames := scene.Render(scene.Decode(latent), size)
		if len(frames) != size.Frames {
			t.Fatalf("%d frames", len(frames))
		}
		for _, f := range frames {
			if f.Bounds() != image.Rect(0, 0, size.Width, size.Height) {
				t.Fatalf("frame of %v", f.Bounds())
			}
			for _, p := range f.Pix {
				if int(p) >= len(scene.Palette) {
					t.Fatalf("pixel %d is not in the palette", p)
				}
			}
		}
	})
}

// Whatever the number of frames, a video starts at the first key frame, ends at the last and moves evenly between.
func TestAnyNumberOfFramesTellsTheSameStory(t *testing.T) {
	source := draw.New(draw.Caption, 5)
	caption, story := scene.DrawCaption(&source)
	keys := scene.Film(&source, caption, story)
	rapid.Check(t, func(t *rapid.T) {
		frames := rapid.IntRange(2, 300).Draw(t, "frames")
		last := frames - 1
		for _, c := range []struct {
			frame int
			want  scene.Key
		}{{0, keys[0]}, {last, keys[scene.KeyFrames-1]}} {
			if got := scene.At(keys, c.frame, frames); math.Abs(float64(got.Subject.X-c.want.Subject.X)) > 1e-4 || math.Abs(float64(got.Subject.Y-c.want.Subject.Y)) > 1e-4 {
				t.Fatalf("frame %d of %d is %+v, want %+v", c.frame, frames, got, c.want)
			}
		}
		// Twice the frames, less one, hold the same frames with one between each two.
		f := rapid.IntRange(0, last).Draw(t, "f")
		if got, want := scene.At(keys, 2*f, 2*frames-1), scene.At(keys, f, frames); math.Abs(float64(got.Subject.X-want.Subject.X)) > 1e-3 {
			t.Fatalf("frame %d of %d has %+v, of twice as many %+v", f, frames, want, got)
		}
	})
}

// At a multiple of the own size, a frame whose sprites lie on whole units covers the same parts of the picture.
func TestAnySizeShowsTheSamePicture(t *testing.T) {
	cat, _ := scene.Find(scene.Subjects, "cat")
	look := scene.Sprite{X: 20, Y: 37, Width: cat.Width, Height: cat.Height, R: 1, G: 0.5}
	var keys [scene.KeyFrames]scene.Key
	for k := range keys {
		keys[k].Subject = look
	}
	box := func(size scene.Size) image.Rectangle {
		var found image.Rectangle
		frame := scene.Render(&keys, size)[0]
		for y := range size.Height {
			for x := range size.Width {
				if r, g, b, _ := frame.At(x, y).RGBA(); r>>8 == uint32(cat.Color.R) && g>>8 == uint32(cat.Color.G) && b>>8 == uint32(cat.Color.B) {
					found = found.Union(image.Rect(x, y, x+1, y+1))
				}
			}
		}
		return found
	}
	own := box(scene.OwnSize)
	if own != image.Rect(16, 34, 24, 40) {
		t.Fatalf("the cat covers %v", own)
	}
	for _, scale := range []struct{ x, y int }{{2, 2}, {8, 8}, {3, 1}, {1, 5}} {
		got := box(scene.Size{Frames: 2, Width: scale.x * scene.WorldWidth, Height: scale.y * scene.WorldHeight})
		if want := image.Rect(own.Min.X*scale.x, own.Min.Y*scale.y, own.Max.X*scale.x, own.Max.Y*scale.y); got != want {
			t.Errorf("%d x %d times as large the cat covers %v, want %v", scale.x, scale.y, got, want)
		}
	}
}
