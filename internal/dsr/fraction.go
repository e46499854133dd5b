package dsr

import (
	"fmt"
	"strconv"
	"strings"
)

// Fraction is a decimal in [0, 1] with at most nine decimals, such as a threshold. It is held as a
// whole number of billionths, so that 0.7 is 0.7 and not the sum of seven rounded tenths.
type Fraction struct {
	billionths uint32
}

const (
	one         = 1_000_000_000
	maxDecimals = 9
)

// ParseFraction reads a plain decimal: 0, 0.7, 1 or 1.0; no sign, no exponent, no bare point.
func ParseFraction(s string) (Fraction, error) {
	whole, decimals, point := strings.Cut(s, ".")
	if (whole != "0" && whole != "1") || (point && decimals == "") || !digits(decimals) {
		return Fraction{}, fmt.Errorf("%q is not a decimal between 0 and 1, such as 0.7", s)
	}
	if len(decimals) > maxDecimals {
		return Fraction{}, fmt.Errorf("%q has more than %d decimals", s, maxDecimals)
	}
	value := uint32(0)
	for _, digit := range (decimals + strings.Repeat("0", maxDecimals))[:maxDecimals] {
		value = value*10 + uint32(digit-'0')
	}
	if whole == "1" {
		if value != 0 {
			return Fraction{}, fmt.Errorf("%q is above 1: use a decimal between 0 and 1", s)
		}
		value = one
	}
	return Fraction{value}, nil
}

func digits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}

// Tenths is the fraction n/10. n outside 0 to 10 is cut to that range.
func Tenths(n int) Fraction {
	return Fraction{uint32(min(max(n, 0), 10)) * (one / 10)}
}

// Float64 is the float64 nearest to the decimal: what a score is compared with.
func (f Fraction) Float64() float64 {
	return float64(f.billionths) / one // both exact, so the quotient is rounded once
}

// String is the shortest plain decimal with at least one decimal: 0.0, 0.75, 1.0.
func (f Fraction) String() string {
	decimals := fmt.Sprintf("%0*d", maxDecimals, f.billionths%one)
	decimals = decimals[:1] + strings.TrimRight(decimals[1:], "0")
	return strconv.Itoa(int(f.billionths/one)) + "." + decimals
}
