package pairing

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"strings"
	"testing"
)

func sha(parts ...string) uint64 {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return binary.BigEndian.Uint64(sum[:])
}

// Prompt p has 90 pairs in iteration 1 and 1 in iteration 2; prompt q has 1.
func origins() []Origin {
	list := []Origin{{"q", 1}, {"p", 2}}
	for range 90 {
		list = append(list, Origin{"p", 1})
	}
	return list
}

func TestDrawIsUniformByPromptThenIteration(t *testing.T) {
	d, err := NewDrawer(origins(), sha)
	if err != nil {
		t.Fatal(err)
	}
	const draws = 20_000
	counts := map[Origin]float64{}
	for n := range draws {
		counts[origins()[d.Draw(7, 1, n)]]++
	}
	for origin, want := range map[Origin]float64{{"q", 1}: 0.5, {"p", 1}: 0.25, {"p", 2}: 0.25} {
		if got := counts[origin] / draws; math.Abs(got-want) > 0.02 {
			t.Errorf("%v was drawn %.3f of the time, want %.2f", origin, got, want)
		}
	}
}

func TestDrawIsAFunctionOfItsNumber(t *testing.T) {
	a, _ := NewDrawer(origins(), sha)
	b, _ := NewDrawer(origins(), sha)
	same := 0
	for n := 99; n >= 0; n-- {
		if a.Draw(7, 1, n) != b.Draw(7, 1, n) {
			t.Fatalf("draw %d differs", n)
		}
		if a.Draw(7, 1, n) == a.Draw(8, 1, n) && a.Draw(7, 1, n) == a.Draw(7, 2, n) {
			same++
		}
	}
	if same > 50 {
		t.Errorf("seed and iteration changed only %d of 100 draws", 100-same)
	}
}

func TestDrawCoversTheWholeHash(t *testing.T) {
	list := []Origin{{"a", 1}, {"b", 1}, {"c", 1}}
	for h, want := range map[uint64]int{0: 0, 1 << 62: 0, 1 << 63: 1, math.MaxUint64: 2} {
		d, _ := NewDrawer(list, func(...string) uint64 { return h })
		if got := d.Draw(1, 1, 0); got != want {
			t.Errorf("hash %x draws %d, want %d", h, got, want)
		}
	}
}

func TestNoPairsToDrawFrom(t *testing.T) {
	if _, err := NewDrawer(nil, sha); err == nil {
		t.Error("an empty list must be refused: drawing from it could not end")
	}
}
