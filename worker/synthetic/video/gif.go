// Package video stores videos as GIF: with a fixed palette the colours survive exactly, and every
// browser plays it.
package video

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/gif"
)

// Limits on a video, so that a hostile file costs little memory.
const (
	MaxBytes  = 16 << 20
	MaxSide   = 512 // pixels
	MaxFrames = 256
)

// frameDelay in hundredths of a second: 12.5 frames per second.
const frameDelay = 8

// Encode frames of one size and palette.
func Encode(frames []*image.Paletted) ([]byte, error) {
	if len(frames) == 0 {
		return nil, errors.New("encode video: no frames")
	}
	size := frames[0].Bounds().Size()
	g := gif.GIF{
		Image:  frames,
		Delay:  make([]int, len(frames)),
		Config: image.Config{ColorModel: frames[0].Palette, Width: size.X, Height: size.Y},
	}
	for i := range g.Delay {
		g.Delay[i] = frameDelay
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, &g); err != nil {
		return nil, fmt.Errorf("encode video: %w", err)
	}
	return b.Bytes(), nil
}

// Decode the frames of a GIF whose frames all cover the whole picture.
func Decode(data []byte) ([]*image.Paletted, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("decode video: %d bytes are more than %d", len(data), MaxBytes)
	}
	config, err := gif.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("decode video: %w", err)
	}
	if config.Width > MaxSide || config.Height > MaxSide {
		return nil, fmt.Errorf("decode video: %d x %d pixels are more than %d x %d", config.Width, config.Height, MaxSide, MaxSide)
	}
	switch frames, err := countFrames(data); {
	case err != nil:
		return nil, fmt.Errorf("decode video: %w", err)
	case frames > MaxFrames:
		return nil, fmt.Errorf("decode video: %d frames are more than %d", frames, MaxFrames)
	}
	g, err := gif.DecodeAll(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("decode video: %w", err)
	}
	for i, frame := range g.Image {
		if frame.Bounds() != image.Rect(0, 0, config.Width, config.Height) {
			return nil, fmt.Errorf("decode video: frame %d covers %v, not the whole picture", i, frame.Bounds())
		}
	}
	return g.Image, nil
}
