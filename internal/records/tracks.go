package records

import (
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jsonl"
)

// Bounds of a track line.
const (
	maxPixels = 1 << 16 // of a video's width and height
	maxFrames = 1 << 16 // of a video
)

var trackShape = jsonl.Shape{
	Names:    []string{"sampleID", "promptID", "seed", "status", "reason", "width", "height", "frameCount", "frames", "counts", "guards"},
	Required: 4,
}

var frameShape = jsonl.Shape{Names: []string{"index", "subject", "object"}, Required: 1}

var countsShape = jsonl.Shape{Names: []string{"valid", "redundant", "miss", "unseen"}, Required: 4}

var guardsShape = jsonl.Shape{Names: contract.TrackGuards}

// TrackDecoder decodes track lines, one at a time, reusing its memory.
type TrackDecoder struct {
	// Nameless accepts a line without ids, as kept tracks are.
	Nameless bool

	scanner jsonl.Scanner
	boxes   []contract.Box // the line's boxes
	seen    []bool         // by frame index
}

// Decode replaces the line by what the text says. The line's frames are valid until the next call.
func (d *TrackDecoder) Decode(text []byte, line *contract.TrackLine) error {
	*line = contract.TrackLine{Frames: line.Frames[:0]}
	d.boxes = d.boxes[:0]
	s := &d.scanner
	s.Reset(text)
	for o := trackShape.Begin(); s.Next(&o); {
		switch trackShape.Names[o.Field] {
		case "sampleID":
			line.SampleID = d.id()
		case "promptID":
			line.PromptID = d.id()
		case "seed":
			line.Seed = s.Uint(1<<64 - 1)
		case "status":
			line.Status = oneOf(s, contract.StatusTracked, contract.StatusInvalid)
		case "reason":
			line.Reason = oneOf(s, reasons...)
		case "width":
			line.Width = int(s.Uint(maxPixels))
		case "height":
			line.Height = int(s.Uint(maxPixels))
		case "frameCount":
			line.FrameCount = int(s.Uint(maxFrames))
		case "frames":
			d.frames(line)
		case "counts":
			d.counts(line)
		case "guards":
			d.guards(line)
		}
	}
	if c := line.Counts; c != nil && c.Valid+c.Redundant+c.Miss+c.Unseen != line.FrameCount {
		s.Fail("counts %+v are not those of %d frames", *c, line.FrameCount)
	}
	if (line.Status == contract.StatusInvalid) != (line.Reason != "") {
		s.Fail("status %s and reason %q do not fit: exactly an %s sample has a reason", line.Status, line.Reason, contract.StatusInvalid)
	}
	d.checkIndexes(line)
	return s.End()
}

func (d *TrackDecoder) id() string {
	if d.Nameless {
		return d.scanner.String(maxID)
	}
	return id(&d.scanner)
}

func (d *TrackDecoder) frames(line *contract.TrackLine) {
	s := &d.scanner
	if s.Null() { // an empty list, as some encoders write it
		return
	}
	for a := (jsonl.Array{}); s.Element(&a); {
		var frame contract.TrackFrame
		for o := frameShape.Begin(); s.Next(&o); {
			switch o.Field {
			case 0:
				frame.Index = int(s.Uint(maxFrames))
			case 1:
				frame.Subject = d.box()
			case 2:
				frame.Object = d.box()
			}
		}
		line.Frames = append(line.Frames, frame)
	}
}

func (d *TrackDecoder) counts(line *contract.TrackLine) {
	s := &d.scanner
	c := &contract.FrameCounts{}
	fields := [...]*int{&c.Valid, &c.Redundant, &c.Miss, &c.Unseen}
	for o := countsShape.Begin(); s.Next(&o); {
		*fields[o.Field] = int(s.Uint(maxFrames))
	}
	line.Counts = c
}

// guards reads the values of a line; most have none, and then it has no map.
func (d *TrackDecoder) guards(line *contract.TrackLine) {
	s := &d.scanner
	line.Guards = map[string]float64{}
	for o := guardsShape.Begin(); s.Next(&o); {
		value := s.Float()
		if value < -1 || value > 1 {
			s.Fail("%s is outside -1 to 1", guardsShape.Names[o.Field])
		}
		line.Guards[guardsShape.Names[o.Field]] = value
	}
}

// box reads [left, top, right, bottom].
func (d *TrackDecoder) box() *contract.Box {
	var box contract.Box
	if d.scanner.Floats(box[:]) != len(box) {
		d.scanner.Fail("a box has four numbers: left, top, right, bottom")
	}
	d.boxes = append(d.boxes, box)
	return &d.boxes[len(d.boxes)-1]
}

// checkIndexes refuses frames that the video does not have, and frames given twice.
func (d *TrackDecoder) checkIndexes(line *contract.TrackLine) {
	if len(d.seen) < line.FrameCount {
		d.seen = make([]bool, line.FrameCount)
	}
	clear(d.seen)
	for k := range line.Frames {
		index := line.Frames[k].Index
		if index >= line.FrameCount {
			d.scanner.Fail("frame %d lies outside the %d frames that frameCount tells", index, line.FrameCount)
			return
		}
		if d.seen[index] {
			d.scanner.Fail("frame %d is given twice", index)
			return
		}
		d.seen[index] = true
	}
}

// reasons that a sample may be INVALID for; an empty one where it is not.
var reasons = []string{
	"", contract.ReasonNoVideo, contract.ReasonTooManyRedundantFrames, contract.ReasonTooFewValidFrames,
	contract.ReasonNoStableRun, contract.ReasonTooFewUsableFrames,
}

// oneOf reads one of the given strings.
func oneOf(s *jsonl.Scanner, values ...string) string {
	text := s.Bytes(maxID)
	for _, value := range values {
		if string(text) == value {
			return value
		}
	}
	s.Fail("%q is none of %q", text, values)
	return ""
}
