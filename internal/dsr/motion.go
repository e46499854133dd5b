package dsr

// Motion holds the guard metrics of one sample that its tracks alone tell: they catch a video that
// reaches its relations by tearing the subject or the object about.
//
// A box counts when it is proper and has an area; its size is the square root of the area.
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
	var m Motion
	var subject, object areaRange
	var firstObject *Box
	var previous *Frame
	for k := range frames {
		f := &frames[k]
		if s := &f.Subject; s.proper() && s.area() > 0 {
			subject.add(s.area())
			if previous != nil && f.Index > previous.Index {
				step := distance(s, &previous.Subject) / float64(f.Index-previous.Index)
				m.SubjectJump = max(m.SubjectJump, step/((s.size()+previous.Subject.size())/2))
			}
			previous = f
		}
		if o := &f.Object; o.proper() && o.area() > 0 {
			object.add(o.area())
			if firstObject == nil {
				firstObject = o
			}
			m.ObjectDrift = max(m.ObjectDrift, distance(o, firstObject)/firstObject.size())
		}
	}
	m.AreaRatio = min(subject.ratio(), object.ratio())
	return m
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
