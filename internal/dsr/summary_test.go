package dsr

import "testing"

func TestSummary(t *testing.T) {
	var s Summary
	if _, ok := s.Mean(); ok || s.Accuracy(0) != 0 || s.ValidFraction() != 0 {
		t.Error("the empty summary has a mean or an accuracy")
	}
	// 0.7 reaches 0.7 exactly; three failures count in every accuracy.
	for _, score := range []float64{0, 0.7, 0.95, 0.699999999} {
		s.AddScore(score)
	}
	s.AddInvalid()
	s.AddMissing(3)
	if s.Asked() != 8 || s.Scored != 4 || s.Invalid != 1 || s.Missing != 3 {
		t.Errorf("counts %+v", s)
	}
	for k, want := range []float64{4, 3, 3, 3, 3, 3, 3, 2, 1, 1} {
		if got := s.Accuracy(k); got != want/8 {
			t.Errorf("Acc@%v = %v, want %v/8", Tenths(k), got, want)
		}
	}
	if mean, _ := s.Mean(); mean != (0+0.7+0.95+0.699999999)/4 {
		t.Errorf("mean %v", mean)
	}
	if s.ValidFraction() != 0.5 {
		t.Errorf("valid fraction %v", s.ValidFraction())
	}
}
