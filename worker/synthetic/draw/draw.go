// Package draw gives counter-based random numbers: every draw is a pure function of a key made of
// numbers (seed, iteration, pair index, purpose), never of what was drawn before it elsewhere. So a
// restart, another batch size or another number of workers changes no draw.
package draw

import "math/rand/v2"

// Purpose separates the draws that share their other numbers.
type Purpose uint64

// The purposes; their values enter every draw and never change.
const (
	InitialNoise Purpose = iota + 1 // noise that a sample starts from
	Pair                            // choice of prompt, iteration and pair
	Sigma                           // noise level of a pair
	WinnerNoise
	LoserNoise
	AdapterInit
	WeightInit
	Caption // pre-training caption and trajectory
	TargetNoise
)

// Source is a keyed sequence; it implements rand.Source of math/rand/v2.
type Source struct{ state uint64 }

// golden is 2^64 divided by the golden ratio, the increment of SplitMix64 (Steele et al. 2014).
const golden = 0x9e3779b97f4a7c15

// New keys a source.
func New(p Purpose, key ...uint64) Source {
	state := mix(uint64(p) + golden)
	for _, k := range key {
		state = mix(state ^ mix(k+golden))
	}
	return Source{state}
}

// Uint64 is the next number of the sequence, as in SplitMix64.
func (s *Source) Uint64() uint64 {
	s.state += golden
	return mix(s.state)
}

// Float is uniform in [0, 1).
func (s *Source) Float() float32 { return float32(s.Uint64()>>40) / (1 << 24) }

// Between is uniform in [lo, hi).
func (s *Source) Between(lo, hi float32) float32 { return lo + (hi-lo)*s.Float() }

// Intn is uniform in 0..n-1, for n >= 1; the bias is below n / 2^64.
func (s *Source) Intn(n int) int { return int(s.Uint64() % uint64(n)) }

// Normals fills dst with independent standard normal numbers.
func (s *Source) Normals(dst []float32) {
	r := rand.New(s)
	for i := range dst {
		dst[i] = float32(r.NormFloat64())
	}
}

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
