package dsr

// Thresholds is how many accuracies a Summary holds: tau = 0.0, 0.1 ... 0.9.
const Thresholds = 10

// thresholds are the float64 nearest to each tau, never the result of stepping.
var thresholds = func() (t [Thresholds]float64) {
	for k := range t {
		t[k] = Tenths(k).Float64()
	}
	return t
}()

// Summary of the samples of a set. The zero value is the empty summary.
type Summary struct {
	Scored, Invalid, Missing int
	sum                      float64
	reached                  [Thresholds]int
}

// AddScore counts a scored sample.
func (s *Summary) AddScore(value float64) {
	s.Scored++
	s.sum += value
	for k, tau := range thresholds {
		if value >= tau {
			s.reached[k]++
		}
	}
}

// AddInvalid counts an INVALID sample.
func (s *Summary) AddInvalid() { s.Invalid++ }

// AddMissing counts samples that were asked for and are not there.
func (s *Summary) AddMissing(n int) { s.Missing += n }

// Asked is how many samples were asked for: scored, INVALID and missing.
func (s *Summary) Asked() int { return s.Scored + s.Invalid + s.Missing }

// Mean of the scores; ok is false when nothing was scored.
func (s *Summary) Mean() (mean float64, ok bool) {
	if s.Scored == 0 {
		return 0, false
	}
	return s.sum / float64(s.Scored), true
}

// Accuracy is Acc@tau for tau = k/10, k in 0 to 9: the fraction of all samples asked for, so INVALID
// and missing ones are failures, whose score is at least tau. It is 0 when none was asked for.
func (s *Summary) Accuracy(k int) float64 {
	if s.Asked() == 0 {
		return 0
	}
	return float64(s.reached[k]) / float64(s.Asked())
}

// ValidFraction is the fraction of all samples asked for that were scored, a guard metric.
func (s *Summary) ValidFraction() float64 {
	if s.Asked() == 0 {
		return 0
	}
	return float64(s.Scored) / float64(s.Asked())
}
