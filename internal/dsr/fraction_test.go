package dsr

import (
	"strconv"
	"testing"
)

func TestParseFraction(t *testing.T) {
	for text, want := range map[string]struct {
		value float64
		text  string
	}{
		"0":           {0, "0.0"},
		"0.0":         {0, "0.0"},
		"0.7":         {0.7, "0.7"},
		"0.70":        {0.7, "0.7"},
		"0.675":       {0.675, "0.675"},
		"0.000000001": {1e-9, "0.000000001"},
		"0.999999999": {0.999999999, "0.999999999"},
		"1":           {1, "1.0"},
		"1.000":       {1, "1.0"},
	} {
		f, err := ParseFraction(text)
		if err != nil || f.Float64() != want.value || f.String() != want.text {
			t.Errorf("ParseFraction(%q) = %v (%v), %v; want %v (%v)", text, f.Float64(), f, err, want.value, want.text)
		}
	}
	for _, text := range []string{"", ".", ".7", "1.", "+0.7", "-0.1", "00.7", "0.7 ", "7e-1", "1.1", "2", "0.0000000001", "NaN", "0,7", "٠.7"} {
		if f, err := ParseFraction(text); err == nil {
			t.Errorf("ParseFraction(%q) = %v, want an error", text, f)
		}
	}
}

func TestTenthsAreDecimals(t *testing.T) {
	want := []string{"0.0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0"}
	for k, text := range want {
		nearest, err := strconv.ParseFloat(text, 64)
		if got := Tenths(k); err != nil || got.String() != text || got.Float64() != nearest {
			t.Errorf("Tenths(%d) = %v (%v), want %s", k, got, got.Float64(), text)
		}
	}
}

// A fraction is the decimal that was written: it reads back, and it is the nearest float64.
func FuzzParseFraction(f *testing.F) {
	for _, seed := range []string{"0.7", "1", "1.0000000000", "0.1234567890", "-0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseFraction(text)
		if err != nil {
			return
		}
		want, err := strconv.ParseFloat(text, 64)
		if err != nil || got.Float64() != want || want < 0 || want > 1 {
			t.Errorf("ParseFraction(%q) = %v, strconv says %v, %v", text, got.Float64(), want, err)
		}
		if again, err := ParseFraction(got.String()); err != nil || again != got {
			t.Errorf("%q reads back as %v, %v", got, again, err)
		}
	})
}
