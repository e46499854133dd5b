package video

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"slices"
	"strings"
	"testing"

	"github.com/spatialalign/operator/worker/synthetic/draw"
	"github.com/spatialalign/operator/worker/synthetic/scene"
)

func film(seed uint64) []*image.Paletted {
	source := draw.New(draw.Caption, seed)
	caption, story := scene.DrawCaption(&source)
	return scene.Render(scene.Film(&source, caption, story))
}

func TestEveryPixelSurvivesStoring(t *testing.T) {
	for seed := range uint64(20) {
		frames := film(seed)
		data, err := Encode(frames)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(frames) {
			t.Fatalf("%d frames became %d", len(frames), len(got))
		}
		for f := range frames {
			for y := range scene.FrameHeight {
				for x := range scene.FrameWidth {
					if !sameColor(got[f].At(x, y), frames[f].At(x, y)) {
						t.Fatalf("video %d frame %d pixel %d,%d: %v became %v", seed, f, x, y, frames[f].At(x, y), got[f].At(x, y))
					}
				}
			}
		}
		if again, err := Encode(frames); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("encoded twice, other bytes: %v", err)
		}
	}
}

func sameColor(a, b color.Color) bool {
	ar, ag, ab, aa := a.RGBA()
	br, bg, bb, ba := b.RGBA()
	return ar == br && ag == bg && ab == bb && aa == ba
}

func TestWhatIsNoSuchVideoIsRefused(t *testing.T) {
	good, err := Encode(film(1))
	if err != nil {
		t.Fatal(err)
	}
	var large bytes.Buffer
	if err := gif.Encode(&large, image.NewPaletted(image.Rect(0, 0, maxSide+1, 1), scene.Palette), nil); err != nil {
		t.Fatal(err)
	}
	var partial bytes.Buffer
	part := gif.GIF{Image: []*image.Paletted{image.NewPaletted(image.Rect(1, 1, 4, 4), scene.Palette)}, Delay: []int{1},
		Config: image.Config{ColorModel: scene.Palette, Width: 8, Height: 8}}
	if err := gif.EncodeAll(&partial, &part); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":          {nil, "EOF"},
		"not a GIF":      {[]byte("\x00\x00\x00\x18ftypmp42"), "decode video"},
		"truncated":      {good[:len(good)/2], "decode video"},
		"too many bytes": {slices.Concat(good, make([]byte, maxBytes)), "bytes are more"},
		"too large":      {large.Bytes(), "pixels are more"},
		"part frames":    {partial.Bytes(), "not the whole picture"},
	} {
		if _, err := Decode(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one about %q", name, err, c.want)
		}
	}
	if _, err := Encode(nil); err == nil {
		t.Error("a video without frames is encoded")
	}
}

func FuzzDecode(f *testing.F) {
	good, err := Encode(film(1)[:2])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		frames, err := Decode(data)
		if err == nil && len(frames) == 0 {
			t.Error("no frames and no error")
		}
	})
}
