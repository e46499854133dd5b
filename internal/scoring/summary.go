package scoring

import (
	"strconv"
	"strings"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/dsr"
)

// Summary of a set of samples: the counts, accuracies and guard metrics that a stage reports. The zero
// value is the empty summary.
type Summary struct {
	dsr.Summary
	motion dsr.Motion // sums over the scored samples
	guards map[string]mean
}

// mean of the samples that have a value.
type mean struct {
	sum float64
	n   int
}

// Add counts a sample.
func (s *Summary) Add(sample *Sample) {
	switch sample.Line.Status {
	case contract.StatusScored:
		s.AddScore(*sample.Line.Score)
		s.motion.SubjectJump += sample.Motion.SubjectJump
		s.motion.ObjectDrift += sample.Motion.ObjectDrift
		s.motion.AreaRatio += sample.Motion.AreaRatio
	case contract.StatusInvalid:
		s.AddInvalid()
	default:
		s.AddMissing(1)
	}
	for name, value := range sample.Guards {
		if s.guards == nil {
			s.guards = map[string]mean{}
		}
		s.guards[name] = mean{s.guards[name].sum + value, s.guards[name].n + 1}
	}
}

// Counts by the names of contract.Termination: total, scored, invalid, missing.
func (s *Summary) Counts() map[string]int64 {
	return map[string]int64{
		"total": int64(s.Asked()), "scored": int64(s.Scored),
		"invalid": int64(s.Invalid), "missing": int64(s.Missing),
	}
}

// Metrics by the names of contract.Termination, as decimals. accuracy/0.0 to accuracy/0.9 and
// guard/validFraction are over all samples asked for. meanScore and the guards subjectJump,
// objectDrift and areaRatio (see dsr.Motion) are means over the scored samples, absent if there are none; those of
// contract.TrackGuards are means over the samples whose tracks have them.
func (s *Summary) Metrics() map[string]string {
	metrics := map[string]string{"guard/validFraction": Decimal(s.ValidFraction())}
	for k := range dsr.Thresholds {
		metrics["accuracy/"+dsr.Tenths(k).String()] = Decimal(s.Accuracy(k))
	}
	if mean, ok := s.Mean(); ok {
		n := float64(s.Scored)
		metrics["meanScore"] = Decimal(mean)
		metrics["guard/subjectJump"] = Decimal(s.motion.SubjectJump / n)
		metrics["guard/objectDrift"] = Decimal(s.motion.ObjectDrift / n)
		metrics["guard/areaRatio"] = Decimal(s.motion.AreaRatio / n)
	}
	for name, g := range s.guards {
		metrics["guard/"+name] = Decimal(g.sum / float64(g.n))
	}
	return metrics
}

// Decimal writes a number with at most six decimals and no trailing zeros: 0.675, 1, 0.
func Decimal(value float64) string {
	text := strings.TrimRight(strings.TrimRight(strconv.FormatFloat(value, 'f', 6, 64), "0"), ".")
	if text == "-0" {
		return "0"
	}
	return text
}
