package filecli

import (
	"path/filepath"
	"strings"
	"testing"
)

// scoreLine is one line of a scores file; score "" makes it INVALID.
func scoreLine(sampleID, promptID, score string) string {
	begin := `{"sampleID":"` + sampleID + `","promptID":"` + promptID + `","seed":1,`
	if score == "" {
		return begin + `"status":"Invalid","reason":"NoVideo"}` + "\n"
	}
	return begin + `"status":"Scored","score":` + score + `,"terms":{"initial":0,"initialGap":0,"final":0,"finalGap":0}}` + "\n"
}

func TestPairCommand(t *testing.T) {
	mixed := scoreLine("c", "p", "0.2") + scoreLine("a", "p", "0.9") + scoreLine("b", "p", "0.7") + scoreLine("d", "p", "") + scoreLine("e", "q", "0.69")
	for name, c := range map[string]struct {
		scores, stdout, pairs string
		args                  []string
	}{
		"the method's thresholds": {
			mixed, `{"outcome":"Pairs","prompts":2,"usablePrompts":1,"winners":2,"losers":2,"invalid":1,"pairs":2}`,
			`{"promptID":"p","iteration":1,"winner":"a","loser":"c","winnerScore":0.9,"loserScore":0.2}
{"promptID":"p","iteration":1,"winner":"b","loser":"c","winnerScore":0.7,"loserScore":0.2}
`, nil,
		},
		"a wider margin, of iteration 3": {
			mixed, `{"outcome":"Pairs","prompts":2,"usablePrompts":1,"winners":1,"losers":1,"invalid":1,"pairs":1}`,
			`{"promptID":"p","iteration":3,"winner":"a","loser":"c","winnerScore":0.9,"loserScore":0.2}
`, []string{"--winner-threshold", "0.8", "--loser-threshold", "0.3", "--iteration", "3"},
		},
		"a margin between the scores": {
			mixed, `{"outcome":"Pairs","prompts":2,"usablePrompts":1,"winners":2,"losers":2,"invalid":1,"pairs":1}`,
			`{"promptID":"p","iteration":1,"winner":"a","loser":"c","winnerScore":0.9,"loserScore":0.2}
`, []string{"--min-margin", "0.7"},
		},
		"one pair of a prompt, chosen by hash": {
			mixed, `{"outcome":"Pairs","prompts":2,"usablePrompts":1,"winners":2,"losers":2,"invalid":1,"pairs":1}`,
			`{"promptID":"p","iteration":1,"winner":"a","loser":"c","winnerScore":0.9,"loserScore":0.2}
`, []string{"--max-pairs-per-prompt", "1"},
		},
		"no pairs is an outcome": {
			scoreLine("a", "p", "1"), `{"outcome":"AllWinners","prompts":1,"usablePrompts":0,"winners":1,"losers":0,"invalid":0,"pairs":0}`, "", nil,
		},
	} {
		dir := t.TempDir()
		out := filepath.Join(dir, "pairs.jsonl")
		stdout, err := runCommand(c.scores, append([]string{"pair", "--scores", "-", "--out", out}, c.args...)...)
		if err != nil || stdout != c.stdout+"\n" {
			t.Errorf("%s: %v, printed\n%swant\n%s", name, err, stdout, c.stdout)
		}
		if got := read(t, out); got != c.pairs {
			t.Errorf("%s: pairs\n%swant\n%s", name, got, c.pairs)
		}
		wantFiles(t, dir, "pairs.jsonl")
	}
}

func TestPairRefuses(t *testing.T) {
	for message, c := range map[string]struct {
		scores string
		args   []string
	}{
		"stdin:1: column 1: want an object":                     {"x", nil},
		"stdin:3: sample a occurs twice":                        {"\ufeff" + scoreLine("a", "p", "0") + "\n" + scoreLine("a", "q", "0"), nil},
		"winner threshold 0.5 is below the loser threshold 0.7": {"", []string{"--winner-threshold", "0.5"}},
		`"70" is not a decimal between 0 and 1, such as 0.7`:    {"", []string{"--winner-threshold", "70"}},
		`"1.5" is above 1`:                                      {"", []string{"--loser-threshold", "1.5"}},
		`"NaN" is not a decimal`:                                {"", []string{"--loser-threshold", "NaN"}},
		`"2" is not a decimal between 0 and 1`:                  {"", []string{"--min-margin", "2"}},
		"at most -1 pairs per prompt":                           {"", []string{"--max-pairs-per-prompt", "-1"}},
		"--iteration must be from 0 to 1048576, is -1":          {"", []string{"--iteration", "-1"}},
	} {
		dir := t.TempDir()
		_, err := runCommand(c.scores, append([]string{"pair", "--scores", "-", "--out", filepath.Join(dir, "pairs.jsonl")}, c.args...)...)
		if err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("error %v, want %q", err, message)
		}
		wantFiles(t, dir)
	}
}
