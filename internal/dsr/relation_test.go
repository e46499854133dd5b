package dsr

import (
	"strings"
	"testing"
)

func TestParseType(t *testing.T) {
	for _, want := range Types() {
		got, err := ParseType(want.String())
		if err != nil || got != want {
			t.Errorf("ParseType(%q) = %v, %v", want.String(), got, err)
		}
	}
	if got := typeNames(); got != "LR LT RL RT TL TR" {
		t.Errorf("types are %s", got)
	}
}

func TestParseTypeRefuses(t *testing.T) {
	for text, message := range map[string]string{
		"":    "unknown type",
		"L":   "unknown type",
		"LRT": "unknown type",
		"lr":  `unknown relation "l"`,
		"LX":  `final unknown relation "X"`,
		"LL":  "does not change the relation",
		"TT":  "does not change the relation",
		"UL":  "relation U (under) has no usable formula",
		"LB":  "relation B (behind) has no usable formula",
		"FT":  "relation F (in front of) has no usable formula",
	} {
		if _, err := ParseType(text); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("ParseType(%q): error %v, want %q", text, err, message)
		}
	}
}
