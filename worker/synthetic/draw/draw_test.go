package draw

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestAKeyAlwaysGivesTheSameDraws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Uint64(), 0, 4).Draw(t, "key")
		a, b := New(Pair, key...), New(Pair, key...)
		for range 10 {
			if x, y := a.Uint64(), b.Uint64(); x != y {
				t.Fatalf("%d and %d", x, y)
			}
		}
	})
}

func TestKeysAndPurposesGiveOtherDraws(t *testing.T) {
	seen := map[uint64]string{}
	try := func(name string, s Source) {
		x := s.Uint64()
		if other, ok := seen[x]; ok {
			t.Errorf("%s and %s draw the same", name, other)
		}
		seen[x] = name
	}
	try("pair", New(Pair))
	try("sigma", New(Sigma))
	try("pair 0", New(Pair, 0))
	try("pair 0 0", New(Pair, 0, 0))
	try("pair 1 0", New(Pair, 1, 0))
	try("pair 0 1", New(Pair, 0, 1))
}

// The first numbers of a key, for good: samples and trainings depend on them.
func TestDrawsNeverChange(t *testing.T) {
	s := New(InitialNoise, 42)
	if got, want := s.Uint64(), uint64(0x5673be346681a8b4); got != want {
		t.Errorf("first draw is %#x, want %#x", got, want)
	}
}

func TestDistributions(t *testing.T) {
	s := New(Caption, 1)
	normals := make([]float32, 100_000)
	s.Normals(normals)
	var mean, square float64
	for _, x := range normals {
		mean += float64(x) / float64(len(normals))
		square += float64(x) * float64(x) / float64(len(normals))
	}
	if math.Abs(mean) > 0.02 || math.Abs(square-1) > 0.02 {
		t.Errorf("normals have mean %g and second moment %g", mean, square)
	}
	var counts [5]int
	for range 50_000 {
		counts[s.Intn(5)]++
		if x := s.Between(2, 3); x < 2 || x >= 3 {
			t.Fatalf("Between(2, 3) gave %g", x)
		}
	}
	for i, n := range counts {
		if n < 9_500 || n > 10_500 {
			t.Errorf("Intn(5) gave %d %d times of 50000", i, n)
		}
	}
}
