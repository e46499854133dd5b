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
	return scene.Render(scene.Film(&source, caption, story), scene.OwnSize)
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
			for y := range scene.OwnSize.Height {
				for x := range scene.OwnSize.Width {
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

// The largest videos that may be asked for can be stored and read.
func TestTheLargestVideoIsRead(t *testing.T) {
	long := slices.Repeat(film(1), 11)[:MaxFrames]
	large := scene.Render(&[scene.KeyFrames]scene.Key{}, scene.Size{Frames: 2, Width: MaxSide, Height: MaxSide})
	for _, video := range [][]*image.Paletted{long, large} {
		data, err := Encode(video)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Decode(data); err != nil || len(got) != len(video) || got[0].Bounds() != video[0].Bounds() {
			t.Errorf("%d frames of %v became %d: %v", len(video), video[0].Bounds(), len(got), err)
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
	if err := gif.Encode(&large, image.NewPaletted(image.Rect(0, 0, MaxSide+1, 1), scene.Palette), nil); err != nil {
		t.Fatal(err)
	}
	var partial bytes.Buffer
	part := gif.GIF{Image: []*image.Paletted{image.NewPaletted(image.Rect(1, 1, 4, 4), scene.Palette)}, Delay: []int{1},
		Config: image.Config{ColorModel: scene.Palette, Width: 8, Height: 8}}
	if err := gif.EncodeAll(&partial, &part); err != nil {
		t.Fatal(err)
	}
	var long bytes.Buffer
	many := gif.GIF{Image: slices.Repeat([]*image.Paletted{image.NewPaletted(image.Rect(0, 0, 1, 1), scene.Palette)}, MaxFrames+1), Delay: make([]int, MaxFrames+1)}
	if err := gif.EncodeAll(&long, &many); err != nil {
		t.Fatal(err)
	}
	// An extension right behind the header and its colour table.
	extended := func(extension string) []byte {
		at := 13 + colours(good[10])
		return slices.Concat(good[:at], []byte(extension), good[at:])
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":               {nil, "EOF"},
		"not a GIF":           {[]byte("\x00\x00\x00\x18ftypmp42"), "decode video"},
		"truncated":           {good[:len(good)/2], "decode video"},
		"too many bytes":      {slices.Concat(good, make([]byte, MaxBytes)), "bytes are more"},
		"too large":           {large.Bytes(), "pixels are more"},
		"too many frames":     {long.Bytes(), "257 frames are more than 256"},
		"a plain text":        {extended("\x21\x01\x0c123456789012\x00"), "extension 0x1"},
		"a nameless program":  {extended("\x21\xff\x00\x00"), "extension 0xff"},
		"an unknown block":    {extended("\x00"), "block 0x0"},
		"an extension at end": {good[:13+colours(good[10])+1], "truncated"},
		"part frames":         {partial.Bytes(), "not the whole picture"},
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
		if err != nil {
			return
		}
		if len(frames) == 0 || len(frames) > MaxFrames {
			t.Errorf("%d frames and no error", len(frames))
		}
		if counted, err := countFrames(data); err != nil || counted != len(frames) {
			t.Errorf("%d frames are counted, %d unpacked: %v", counted, len(frames), err)
		}
	})
}
