package scene_test

import (
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
		frames := scene.Render(scene.Decode(latent))
		if len(frames) != scene.Frames {
			t.Fatalf("%d frames", len(frames))
		}
		for _, f := range frames {
			for _, p := range f.Pix {
				if int(p) >= len(scene.Palette) {
					t.Fatalf("pixel %d is not in the palette", p)
				}
			}
		}
	})
}
