package scene

import (
	"image"
	"image/color"
	"math"
)

// levels of each channel of a sprite's colour that the palette holds.
const levels = 5

// Indices of the palette beyond the levels^3 sprite colours.
const (
	sky    = levels * levels * levels // three bands of it
	meadow = sky + 3                  // three bands of it
	ink    = meadow + 3
)

// Palette is the fixed palette of all videos: colours survive storing exactly.
var Palette = func() color.Palette {
	p := make(color.Palette, 0, ink+1)
	for i := range sky {
		p = append(p, color.RGBA{level(i / levels / levels), level(i / levels % levels), level(i % levels), 255})
	}
	return append(p,
		color.RGBA{214, 226, 236, 255}, color.RGBA{224, 233, 240, 255}, color.RGBA{234, 239, 243, 255},
		color.RGBA{176, 184, 166, 255}, color.RGBA{168, 176, 158, 255}, color.RGBA{160, 168, 150, 255},
		color.RGBA{40, 40, 44, 255})
}()

func level(i int) uint8 { return uint8((i*255 + levels/2) / (levels - 1)) }

// Render draws the frames of a video of a size. What comes later covers what came earlier: backdrop, subject,
// object; so a subject that passes behind the object is hidden, partly or wholly.
func Render(keys *[KeyFrames]Key, size Size) []*image.Paletted {
	frames := make([]*image.Paletted, size.Frames)
	for f := range frames {
		img := image.NewPaletted(image.Rect(0, 0, size.Width, size.Height), Palette)
		drawBackdrop(img)
		key := At(keys, f, size.Frames)
		drawSprite(img, key.Subject, animalShape)
		drawSprite(img, key.Object, objectShape)
		frames[f] = img
	}
	return frames
}

func drawBackdrop(img *image.Paletted) {
	const horizon = 34
	width, height := img.Rect.Dx(), img.Rect.Dy()
	for y := range height {
		altitude := y * WorldHeight / height
		index := uint8(sky + min(2, altitude/12))
		if altitude >= horizon {
			index = uint8(meadow + min(2, (altitude-horizon)/5))
		}
		row := img.Pix[y*img.Stride : y*img.Stride+width]
		for x := range row {
			row[x] = index
		}
	}
}

// A shape says how to fill the point (u, v) of a sprite's box, both in 0..1.
type shape func(u, v float32) fill

type fill int

const (
	empty fill = iota
	body
	detail
)

// drawSprite fills the box of a sprite; one that is thinner than a unit of the world, or not finite, is not there.
func drawSprite(img *image.Paletted, s Sprite, at shape) {
	width, height := img.Rect.Dx(), img.Rect.Dy()
	left, right := edges(s.X, s.Width, float32(width)/WorldWidth)
	top, bottom := edges(s.Y, s.Height, float32(height)/WorldHeight)
	index := paletteIndex(s)
	for y := max(0, top); y < min(height, bottom); y++ {
		for x := max(0, left); x < min(width, right); x++ {
			u := (float32(x-left) + 0.5) / float32(right-left)
			v := (float32(y-top) + 0.5) / float32(bottom-top)
			switch at(u, v) {
			case body:
				img.Pix[y*img.Stride+x] = index
			case detail:
				img.Pix[y*img.Stride+x] = ink
			}
		}
	}
}

// edges of an extent in whole pixels, of which scale make a unit; the second is exclusive. Bounded, so that
// wild latents cost nothing.
func edges(centre, size, scale float32) (int, int) {
	if !(size >= 1 && size < 1000 && centre > -1000 && centre < 1000) {
		return 0, 0
	}
	first := int(math.Round(float64((centre - size/2) * scale)))
	return first, first + int(math.Round(float64(size*scale)))
}

func paletteIndex(s Sprite) uint8 {
	nearest := func(c float32) int {
		return max(0, min(levels-1, int(math.Round(float64(max(-1, min(2, c))*(levels-1))))))
	}
	return uint8((nearest(s.R)*levels+nearest(s.G))*levels + nearest(s.B))
}

// animalShape is a trunk on two pairs of legs with a head and an eye.
func animalShape(u, v float32) fill {
	switch {
	case u > 0.68 && u < 0.86 && v > 0.12 && v < 0.34:
		return detail
	case u > 0.55 && v < 0.6:
		return body
	case v > 0.3 && v < 0.8:
		return body
	case v >= 0.8 && (u < 0.34 || u > 0.62):
		return body
	default:
		return empty
	}
}

// objectShape is a full box with a slit in it.
func objectShape(u, v float32) fill {
	if u > 0.25 && u < 0.75 && v > 0.4 && v < 0.52 {
		return detail
	}
	return body
}
