package scene

import "github.com/spatialalign/operator/worker/synthetic/draw"

// Ground is the y on which everything stands.
const ground = 40

// Caption is what a pre-training video is said to show: a subject, an object and two relations of "LRT".
type Caption struct {
	Subject, Object Look
	Initial, Final  byte
}

// A Story is how a pre-training video treats its caption.
type Story int

// The base model learns from captions that are right only part of the time, as captions on the web
// are: it learns what things look like and that relations matter, but is spatially clueless.
const (
	Right    Story = iota // as the caption says
	Static                // stays where it starts
	Wanders               // starts right, then moves further away from the goal
	Short                 // stops before it is half-way
	Reversed              // starts at the final relation and ends at the initial one
	Random                // walks anywhere
	Vanishes              // as the caption says, but the subject is gone for a while
)

// shares of the stories, in percent.
var shares = [...]int{Right: 27, Static: 29, Wanders: 14, Short: 14, Reversed: 9, Random: 4, Vanishes: 3}

// DrawCaption draws a caption uniformly and a story by its share.
func DrawCaption(source *draw.Source) (Caption, Story) {
	const relations = "LRT"
	initial := source.Intn(3)
	final := (initial + 1 + source.Intn(2)) % 3
	c := Caption{
		Subject: Subjects[source.Intn(len(Subjects))], Object: Objects[source.Intn(len(Objects))],
		Initial: relations[initial], Final: relations[final],
	}
	p := source.Intn(100)
	for s, share := range shares {
		if p -= share; p < 0 {
			return c, Story(s)
		}
	}
	return c, Right
}

// point is where the subject's centre is.
type point struct{ x, y float32 }

// Film draws a video of a caption told as a story.
func Film(source *draw.Source, c Caption, story Story) *[KeyFrames]Key {
	object := look(c.Object)
	object.X = source.Between(27, 37)
	object.Y = ground - object.Height/2
	subject := look(c.Subject)
	gap := source.Between(2, 7)
	place := func(relation byte) point {
		side := (subject.Width+object.Width)/2 + gap
		switch relation {
		case 'L':
			return point{object.X - side, ground - subject.Height/2}
		case 'R':
			return point{object.X + side, ground - subject.Height/2}
		default:
			return point{object.X + source.Between(-1, 1), ground - object.Height - subject.Height/2}
		}
	}
	from, to := place(c.Initial), place(c.Final)
	reach := float32(1)
	switch story {
	case Static:
		to = from
	case Wanders:
		to = away(from, object.X, source)
	case Short:
		reach = source.Between(0.1, 0.4)
	case Reversed:
		from, to = to, from
	case Random:
		from = point{source.Between(6, 58), source.Between(12, 38)}
		to = point{source.Between(6, 58), source.Between(12, 38)}
	}
	// From one side to the other it hops over the object or passes behind it.
	lift := object.Height + subject.Height/2 + 1
	if across := (from.x-object.X)*(to.x-object.X) < 0; !across || source.Float() < 0.15 {
		lift = 0
	}
	keys := new([KeyFrames]Key)
	start, end := source.Between(0.3, 1.6), source.Between(5, 6.5) // in key frames
	gone := 1 + source.Intn(KeyFrames-4)
	for k := range keys {
		t := max(0, min(1, (float32(k)-start)/(end-start))) * reach
		s := subject
		s.X = from.x + t*(to.x-from.x)
		s.Y = from.y + t*(to.y-from.y) - lift*4*t*(1-t)
		if story == Vanishes && k >= gone && k < gone+3 {
			s.Width, s.Height = 0, 0
		}
		keys[k] = Key{Subject: s, Object: object}
	}
	return keys
}

// away is a place on the same side of the object, further out; from the top, down to either side's ground.
func away(from point, objectX float32, source *draw.Source) point {
	step := source.Between(3, 6)
	if from.x < objectX {
		step = -step
	}
	return point{max(4, min(WorldWidth-4, from.x+step)), from.y}
}

func look(l Look) Sprite {
	return Sprite{Width: l.Width, Height: l.Height,
		R: float32(l.Color.R) / 255, G: float32(l.Color.G) / 255, B: float32(l.Color.B) / 255}
}
