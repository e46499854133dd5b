package filecli

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestPromptsImport(t *testing.T) {
	dir := t.TempDir()
	in := put(t, dir, "x.csv", "prompt,type,prompt_id,animal,object,scene,initial_SR,final_SR,group\n"+
		`"On a hill, a cat is on the left of a log, then the cat runs to the right of the log.",LR,LR_0,cat,log,"On a hill,",on the left of,to the right of,g`+"\n")
	out := filepath.Join(dir, "p.jsonl")
	stdout, err := runCommand("", "prompts", "import", "--in", in, "--out", out)
	if err != nil || stdout != `{"prompts":1,"byType":{"LR":1}}`+"\n" {
		t.Errorf("%v, printed %s", err, stdout)
	}
	const want = `{"promptID":"LR_0","type":"LR","subject":"cat","object":"log","scene":"On a hill,","prompt":"On a hill, a cat is on the left of a log, then the cat runs to the right of the log."}` + "\n"
	if got := read(t, out); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	again := filepath.Join(dir, "again.jsonl")
	if _, err := runCommand(want, "prompts", "import", "--in", "-", "--out", again); err != nil || read(t, again) != want {
		t.Errorf("JSONL on stdin: %v", err)
	}
}

func TestPromptsImportRefuses(t *testing.T) {
	dir := t.TempDir()
	in := put(t, dir, "x.csv", "type,prompt_id\n")
	_, err := runCommand("", "prompts", "import", "--in", in, "--out", filepath.Join(dir, "p.jsonl"))
	if err == nil || !strings.Contains(err.Error(), `x.csv:1: column "animal" is missing`) {
		t.Errorf("error %v", err)
	}
	wantFiles(t, dir, "x.csv")
}

func TestPromptsGenerate(t *testing.T) {
	dir := t.TempDir()
	generate := func(name string, args ...string) (stdout, text string) {
		t.Helper()
		out := filepath.Join(dir, name)
		stdout, err := runCommand("", append([]string{"prompts", "generate", "--out", out}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return stdout, read(t, out)
	}
	stdout, a := generate("a", "--relations", "LR,LT,RL,RT,TL,TR", "--count", "31", "--seed", "1")
	if stdout != `{"prompts":31,"byType":{"LR":6,"LT":5,"RL":5,"RT":5,"TL":5,"TR":5}}`+"\n" || strings.Count(a, "\n") != 31 {
		t.Errorf("printed %s, wrote\n%s", stdout, a)
	}
	if _, b := generate("b", "--count", "31"); b != a {
		t.Error("the same description wrote another set")
	}
	if _, c := generate("c", "--count", "31", "--seed", "2"); c == a {
		t.Error("another seed wrote the same set")
	}
	for message, args := range map[string][]string{
		`relations: type "LU": final relation U (under) has no usable formula`: {"--relations", "LR,LU"},
		"count 9999 is outside 1 to 864":                                       {"--count", "9999"},
		`unknown split "dev"`:                                                  {"--split", "dev"},
	} {
		_, err := runCommand("", append([]string{"prompts", "generate", "--out", filepath.Join(dir, "d")}, args...)...)
		if err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("error %v, want %q", err, message)
		}
	}
	wantFiles(t, dir, "a", "b", "c")
}
