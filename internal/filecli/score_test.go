package filecli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jsonl"
)

const scorePrompts = `{"promptID":"p","type":"LR","subject":"cat","object":"log","prompt":"P"}
{"promptID":"q","type":"RL","subject":"cat","object":"log","prompt":"Q"}
{"promptID":"r","type":"TL","subject":"cat","object":"log","prompt":"R"}
`

// walk is a track of n frames whose subject walks from the left of the object to its right.
func walk(sampleID, promptID string, n int) contract.TrackLine {
	track := contract.TrackLine{SampleID: sampleID, PromptID: promptID, Seed: 7, Width: 832, Height: 480, FrameCount: n, Status: contract.StatusTracked}
	for k := range n {
		x := 10 * float64(k)
		track.Frames = append(track.Frames, contract.TrackFrame{Index: k, Subject: &contract.Box{x, 0, x + 10, 10}, Object: &contract.Box{100, 0, 110, 10}})
	}
	return track
}

func noVideo(sampleID, promptID string) contract.TrackLine {
	return contract.TrackLine{SampleID: sampleID, PromptID: promptID, Seed: 8, Status: contract.StatusInvalid, Reason: contract.ReasonNoVideo}
}

func encode(t *testing.T, tracks ...contract.TrackLine) string {
	t.Helper()
	var b bytes.Buffer
	encoder := jsonl.NewEncoder[contract.TrackLine](&b)
	for k := range tracks {
		if err := encoder.Write(&tracks[k]); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func compress(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// put writes a file and gives its path.
func put(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// wantFiles wants exactly these files in a folder: no temporary file may be left.
func wantFiles(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("files %v, want %v", got, names)
	}
}

func TestScoreCommand(t *testing.T) {
	dir := t.TempDir()
	prompts := put(t, dir, "p.jsonl", scorePrompts)
	text := encode(t, walk("a", "p", 21), walk("b", "q", 21), noVideo("c", "q"), walk("d", "p", 5))
	tracks, gzipped := put(t, dir, "t.jsonl", text), put(t, dir, "t.gz", compress(t, text))
	out := filepath.Join(dir, "s.jsonl")

	const scores = `{"sampleID":"a","promptID":"p","seed":7,"status":"Scored","reason":"","score":1,"terms":{"initial":1,"initialGap":1,"final":1,"finalGap":1},"usableFrames":21}
{"sampleID":"b","promptID":"q","seed":7,"status":"Scored","reason":"","score":0,"terms":{"initial":-1,"initialGap":-1,"final":-1,"finalGap":-1},"usableFrames":21}
{"sampleID":"c","promptID":"q","seed":8,"status":"Invalid","reason":"NoVideo","usableFrames":0}
{"sampleID":"d","promptID":"p","seed":7,"status":"Invalid","reason":"TooFewUsableFrames","usableFrames":5}
`
	accuracy := func(first, others string) string {
		text := `"accuracy":{"0.0":` + first
		for _, tau := range strings.Fields("0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9") {
			text += `,"` + tau + `":` + others
		}
		return text + "}}\n"
	}
	for _, c := range []struct {
		name, stdin, want string
		args              []string
	}{
		{"a prompt without a track misses one", "", `{"scored":2,"invalid":2,"missing":1,"meanScore":0.5,` + accuracy("0.4", "0.2"), []string{"--tracks", tracks}},
		{"four asked for of each prompt", "", `{"scored":2,"invalid":2,"missing":8,"meanScore":0.5,` + accuracy("0.16666666666666666", "0.08333333333333333"),
			[]string{"--tracks", tracks, "--samples-per-prompt", "4"}},
		{"gzip", "", `{"scored":2,"invalid":2,"missing":1,"meanScore":0.5,` + accuracy("0.4", "0.2"), []string{"--tracks", gzipped}},
		{"gzip on stdin", read(t, gzipped), `{"scored":2,"invalid":2,"missing":1,"meanScore":0.5,` + accuracy("0.4", "0.2"), []string{"--tracks", "-"}},
	} {
		stdout, err := runCommand(c.stdin, append([]string{"score", "--prompts", prompts, "--out", out}, c.args...)...)
		if err != nil || stdout != c.want {
			t.Errorf("%s: %v, printed\n%swant\n%s", c.name, err, stdout, c.want)
		}
		if got := read(t, out); got != scores {
			t.Errorf("%s: scores\n%swant\n%s", c.name, got, scores)
		}
		wantFiles(t, dir, "p.jsonl", "s.jsonl", "t.gz", "t.jsonl")
	}
}

func TestScoreOfNothing(t *testing.T) {
	dir := t.TempDir()
	stdout, err := runCommand("", "score", "--prompts", put(t, dir, "p.jsonl", scorePrompts), "--tracks", "-", "--out", filepath.Join(dir, "s"))
	if err != nil || !strings.HasPrefix(stdout, `{"scored":0,"invalid":0,"missing":3,"meanScore":null,"accuracy":{"0.0":0,`) {
		t.Errorf("%v, printed %s", err, stdout)
	}
}

func TestScoreRefuses(t *testing.T) {
	good := encode(t, walk("a", "p", 21))
	whole := compress(t, good)
	for name, c := range map[string]struct {
		tracks, message string
		args            []string
	}{
		"unknown prompt":       {good + encode(t, walk("b", "x", 21)), "t:2: sample b is of prompt x, which the prompt set lacks", nil},
		"sample twice":         {good + good, "t:2: sample a is already in line 1", nil},
		"too many of a prompt": {good + encode(t, walk("b", "p", 21)), "t:2: prompt p has more than the 1 samples asked for", []string{"--samples-per-prompt", "1"}},
		"zero asked for":       {good, "--samples-per-prompt must be at least 1, is 0", []string{"--samples-per-prompt", "0"}},
		"negative asked for":   {good, "--samples-per-prompt must be at least 1, is -3", []string{"--samples-per-prompt", "-3"}},
		"not JSON":             {good + "\n\nhello", "t:4: column 1: want an object, found 'h'", nil},
		"cut short":            {whole[:len(whole)-20], "t: after line 0: unexpected EOF", nil},
		"damaged":              {whole[:len(whole)-6] + "\x00\x00" + whole[len(whole)-4:], "gzip: invalid checksum", nil},
		"not gzip after all":   {"\x1f\x8b\x00", "t: ", nil},
	} {
		dir := t.TempDir()
		prompts, tracks := put(t, dir, "p.jsonl", scorePrompts), put(t, dir, "t", c.tracks)
		out := put(t, dir, "s.jsonl", "the result of an earlier run")
		stdout, err := runCommand("", append([]string{"score", "--prompts", prompts, "--tracks", tracks, "--out", out}, c.args...)...)
		if err == nil || !strings.Contains(err.Error(), c.message) || stdout != "" {
			t.Errorf("%s: error %v, want %q; printed %q", name, err, c.message, stdout)
		}
		if got := read(t, out); got != "the result of an earlier run" {
			t.Errorf("%s: the earlier result became %q", name, got)
		}
		wantFiles(t, dir, "p.jsonl", "s.jsonl", "t")
	}
}

func TestMissingFilesAndFlags(t *testing.T) {
	dir := t.TempDir()
	prompts := put(t, dir, "p.jsonl", scorePrompts)
	for message, args := range map[string][]string{
		`required flag(s) "out", "prompts", "tracks" not set`: {"score"},
		`required flag(s) "out", "scores" not set`:            {"pair"},
		`required flag(s) "in", "out" not set`:                {"prompts", "import"},
		`required flag(s) "out" not set`:                      {"prompts", "generate"},
		"none.csv: no such file or directory":                 {"score", "--prompts", filepath.Join(dir, "none.csv"), "--tracks", "-", "--out", filepath.Join(dir, "s")},
		"none.gz: no such file or directory":                  {"score", "--prompts", prompts, "--tracks", filepath.Join(dir, "none.gz"), "--out", filepath.Join(dir, "s")},
		"none/.s.":                                            {"score", "--prompts", prompts, "--tracks", "-", "--out", filepath.Join(dir, "none", "s")},
		"unknown command \"extra\"":                           {"score", "extra", "--prompts", prompts, "--tracks", "-", "--out", filepath.Join(dir, "s")},
	} {
		if _, err := runCommand("", args...); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%v: error %v, want %q", args, err, message)
		}
	}
	wantFiles(t, dir, "p.jsonl")
}
