// Package detect finds the subject and the object of a prompt in the pixels of a video, by the
// colours of their classes, and applies the method's rules for INVALID samples. It knows the
// pictures and the two words, and nothing of how the video was made.
package detect

import (
	"fmt"
	"image"
	"strings"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/worker/synthetic/scene"
)

// revision of the rules below, raised whenever the boxes of a video may change.
const revision = "1"

// Identity names the detector in specs and track keys. In place of weights its digest covers the
// colours that it knows.
func Identity() contract.Detector {
	var known strings.Builder
	for _, looks := range [][]scene.Look{scene.Subjects, scene.Objects} {
		for _, look := range looks {
			fmt.Fprintf(&known, "%s %v\n", look.Word, look.Color)
		}
	}
	return contract.Detector{Name: "synthetic-colour", Digest: contract.Digest([]byte(known.String())), Revision: revision}
}

// The method's rules, in frames.
const (
	maxRedundant = 16 // more redundant frames than that make a sample INVALID
	// MinValid is how many valid frames a sample needs; shorter videos are always INVALID.
	MinValid  = 20
	stableRun = 4 // without a run of that many valid frames a sample is INVALID
)

const (
	tolerance = 70 // of a pixel's colour: sum over the channels of the distance to the class colour
	minPixels = 4  // smaller spots of a colour are no detection
)

// Tracks are the boxes of a video, or the reason why it is INVALID.
type Tracks struct {
	Reason string // empty when tracked
	Frames []contract.TrackFrame
}

// Track finds both roles in every frame. Frames must have at most 256 colours and one size.
func Track(frames []*image.Paletted, subject, object scene.RGB) Tracks {
	tracks := Tracks{Frames: make([]contract.TrackFrame, len(frames))}
	if len(frames) == 0 {
		return Tracks{Reason: contract.ReasonNoVideo}
	}
	finder := newFinder(frames[0].Bounds())
	redundant, valid, run, longest := 0, 0, 0, 0
	for i, frame := range frames {
		finder.classify(frame, subject, object)
		subjectBox, subjects := finder.find(roleSubject)
		objectBox, objects := finder.find(roleObject)
		tracks.Frames[i] = contract.TrackFrame{Index: i, Subject: subjectBox, Object: objectBox}
		switch {
		case subjects == 1 && objects == 1:
			valid++
			run++
			longest = max(longest, run)
			continue
		case subjects+objects >= 2:
			redundant++
		}
		run = 0
	}
	switch {
	case redundant > maxRedundant:
		tracks.Reason = contract.ReasonTooManyRedundantFrames
	case valid < MinValid:
		tracks.Reason = contract.ReasonTooFewValidFrames
	case longest < stableRun:
		tracks.Reason = contract.ReasonNoStableRun
	}
	return tracks
}

type role uint8

const (
	roleNone role = iota
	roleSubject
	roleObject
)

// finder holds the roles of one frame's pixels and the working memory of the search.
type finder struct {
	width, height int
	roles         []role
	stack         []int
}

func newFinder(bounds image.Rectangle) *finder {
	return &finder{width: bounds.Dx(), height: bounds.Dy(), roles: make([]role, bounds.Dx()*bounds.Dy())}
}

// classify gives every pixel the role whose colour it has within the tolerance, the nearer of two, none of a tie.
func (f *finder) classify(frame *image.Paletted, subject, object scene.RGB) {
	var roles [256]role
	for i, c := range frame.Palette {
		r, g, b, _ := c.RGBA()
		color := scene.RGB{R: uint8(r >> 8), G: uint8(g >> 8), B: uint8(b >> 8)}
		toSubject, toObject := distance(color, subject), distance(color, object)
		switch {
		case toSubject <= tolerance && toSubject < toObject:
			roles[i] = roleSubject
		case toObject <= tolerance && toObject < toSubject:
			roles[i] = roleObject
		}
	}
	for y := range f.height {
		row := frame.Pix[y*frame.Stride:]
		for x := range f.width {
			f.roles[y*f.width+x] = roles[row[x]]
		}
	}
}

// find counts the connected spots of a role that are big enough and gives the box around all of
// them, in inclusive pixel indices; nil without one. Pixels that touch at a corner are connected.
func (f *finder) find(want role) (*contract.Box, int) {
	var all extent
	spots := 0
	for start := range f.roles {
		if f.roles[start] != want {
			continue
		}
		if spot := f.flood(start, want); spot.pixels >= minPixels {
			if spots++; spots == 1 {
				all = spot
			} else {
				all.add(spot)
			}
		}
	}
	if spots == 0 {
		return nil, 0
	}
	return &contract.Box{float64(all.left), float64(all.top), float64(all.right), float64(all.bottom)}, spots
}

// flood takes a connected spot out of the frame and measures it.
func (f *finder) flood(start int, want role) extent {
	x, y := start%f.width, start/f.width
	spot := extent{left: x, top: y, right: x, bottom: y}
	f.roles[start] = roleNone
	f.stack = append(f.stack[:0], start)
	for len(f.stack) > 0 {
		at := f.stack[len(f.stack)-1]
		f.stack = f.stack[:len(f.stack)-1]
		x, y := at%f.width, at/f.width
		spot.add(extent{left: x, top: y, right: x, bottom: y, pixels: 1})
		for ny := max(0, y-1); ny <= min(f.height-1, y+1); ny++ {
			for nx := max(0, x-1); nx <= min(f.width-1, x+1); nx++ {
				if next := ny*f.width + nx; f.roles[next] == want {
					f.roles[next] = roleNone
					f.stack = append(f.stack, next)
				}
			}
		}
	}
	return spot
}

type extent struct{ left, top, right, bottom, pixels int }

func (e *extent) add(o extent) {
	e.left, e.top = min(e.left, o.left), min(e.top, o.top)
	e.right, e.bottom = max(e.right, o.right), max(e.bottom, o.bottom)
	e.pixels += o.pixels
}

func distance(a, b scene.RGB) int {
	d := func(x, y uint8) int { return max(int(x), int(y)) - min(int(x), int(y)) }
	return d(a.R, b.R) + d(a.G, b.G) + d(a.B, b.B)
}
