package dsr

import "math"

// Motion holds the guard metrics of one sample that its tracks alone tell: they catch a video that
// reaches its relations by tearing the subject or the object about.
//
// A box counts when it is proper and has an area (at least minArea); its size is the square root of the area.
type Motion struct {
	// SubjectJump is the subject's largest step between two successive boxes, per frame and relative
	// to its size: |centre(k) - centre(j)| / (index(k) - index(j)) / mean(size(j), size(k)). At least
	// 0; smaller is smoother. 0 with fewer than two boxes.
	SubjectJump float64
	// ObjectDrift is how far the object got from where it was in its first box, relative to its size
	// there: the largest |centre(k) - centre(0)| / size(0). At least 0; 0 is an object that stays.
	ObjectDrift float64
	// AreaRatio is the smallest over the largest box area of a role over time, the lower of the two
	// roles. In (0, 1]; 1 is a subject and an object that keep their sizes. 0 when a role has no box.
	AreaRatio float64
}

// Measure computes the Motion of ordered frames. It allocates nothing.
func Measure(frames []Frame) Motion {
	var subject, object areaRange
	var before, origin place // the subject's last box, the object's first
	var jump, drift float64  // squared, so that only their maxima need a square root
	index := 0
	for k := range frames {
		f := &frames[k]
		if s, ok := placeOf(&f.Subject); ok {
			subject.add(s.area)
			if before.area > 0 && f.Index > index {
				reach := float64(f.Index-index) * (s.size + before.size) / 2
				jump = max(jump, squaredDistance(s, before)/(reach*reach))
			}
			before, index = s, f.Index
		}
		if o, ok := placeOf(&f.Object); ok {
			object.add(o.area)
			if origin.area == 0 {
				origin = o
			}
			drift = max(drift, squaredDistance(o, origin)/origin.area)
		}
	}
	return Motion{
		SubjectJump: math.Sqrt(jump), ObjectDrift: math.Sqrt(drift),
		AreaRatio: min(subject.ratio(), object.ratio()),
	}
}

// minArea is the least area, in square pixels, that sizes are measured against.
const minArea = 1e-6

// place is the centre and the extent of a box that has an area.
type place struct{ x, y, area, size float64 }

func placeOf(b *Box) (p place, ok bool) {
	if !b.proper() || b.area() < minArea {
		return p, false
	}
	p.x, p.y = b.centre()
	p.area = b.area()
	p.size = math.Sqrt(p.area)
	return p, true
}

func squaredDistance(a, b place) float64 {
	dx, dy := a.x-b.x, a.y-b.y
	return dx*dx + dy*dy
}

// areaRange is the smallest and the largest area seen.
type areaRange struct{ low, high float64 }

func (r *areaRange) add(area float64) {
	if r.high == 0 {
		r.low = area
	}
	r.low, r.high = min(r.low, area), max(r.high, area)
}

func (r *areaRange) ratio() float64 {
	if r.high == 0 {
		return 0
	}
	return r.low / r.high
}
