package prompts

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spatialalign/operator/internal/contract"
)

func TestImportByColumnName(t *testing.T) {
	set, err := ReadFile("testdata/published.csv")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/published.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := Write(&got, set); err != nil || got.String() != string(want) {
		t.Errorf("%v, got\n%swant\n%s", err, got.String(), want)
	}
	again, err := ReadFile("testdata/published.jsonl")
	if err != nil || !slices.Equal(again, set) {
		t.Errorf("JSONL reads back as %v, %v", again, err)
	}
}

// The format is known by the ending of the name, or by the text.
func TestFormats(t *testing.T) {
	for _, file := range []string{"testdata/published.csv", "testdata/published.jsonl"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{
			"stdin":                string(text),
			"with mark":            "\ufeff" + string(text),
			file:                   "\ufeff" + string(text),
			strings.ToUpper(file):  string(text),
			"with Windows endings": strings.ReplaceAll(string(text), "\n", "\r\n"),
		} {
			if set, err := Read(strings.NewReader(text), name); err != nil || len(set) != 2 {
				t.Errorf("%s of %s: %v, %v", name, file, set, err)
			}
		}
	}
}

// The published evaluation set is not part of the repository: it lies beside the checkout.
func TestPublishedSet(t *testing.T) {
	set, err := ReadFile("../../../shared/prompts/eval30.csv")
	if errors.Is(err, fs.ErrNotExist) {
		t.Log("NOT CHECKED: the published prompts (shared/prompts/eval30.csv, beside the checkout) are not here")
		return
	}
	if err != nil || len(set) != 30 {
		t.Fatalf("%d prompts, %v", len(set), err)
	}
	for _, p := range set {
		if !strings.HasPrefix(p.Prompt, p.Scene+" ") {
			t.Errorf("%+v", p)
		}
	}
}

func TestBadCSV(t *testing.T) {
	const header = "type,prompt_id,animal,object,scene,initial_SR,final_SR,prompt\n"
	const good = "LR,a,cat,log,S,on the left of,to the right of,P\n"
	for text, message := range map[string]string{
		"":          "f.csv:1: the file is empty",
		header:      "f.csv: there are no prompts",
		"\n\n":      "f.csv:1: the file is empty",
		"a\"b\n":    "f.csv:1:2: bare \" in non-quoted-field",
		"type,id\n": `f.csv:1: column "prompt_id" is missing`,
		"type,prompt_id,animal,object,scene,initial_SR,final_SR\n":             `f.csv:1: column "prompt" is missing: the first line must name the columns type, prompt_id,`,
		"type,type,prompt_id,animal,object,scene,initial_SR,final_SR,prompt\n": `f.csv:1: column "type" is there twice`,
		header + good + "LR,a\n": "f.csv:3:1: wrong number of fields",
		header + good + good:     `f.csv:3:4: column "prompt_id": prompt id a is already in line 2`,
		header + "LL,a,cat,log,S,on the left of,to the left of,P\n":          `f.csv:2:1: column "type": type "LL" does not change the relation`,
		header + "LU,a,cat,log,S,on the left of,under,P\n":                   `f.csv:2:1: column "type": type "LU": final relation U (under) has no usable formula`,
		header + "LR,a,cat,log,S,on the right of,to the right of,P\n":        `f.csv:2:16: column "initial_SR": "on the right of" is relation R, but type LR wants L`,
		header + "LR,a,cat,log,S,on the left of,to the top of,P\n":           `f.csv:2:31: column "final_SR": "to the top of" is relation T, but type LR wants R`,
		header + "LR,a,cat,log,S,near,to the top of,P\n":                     `column "initial_SR": unknown relation "near"`,
		header + "LR,a,cat,log,S,behind,to the top of,P\n":                   `column "initial_SR": relation B (behind) has no usable formula`,
		header + "LR,a,cat,log,S,left and right,to the top of,P\n":           `column "initial_SR": "left and right" names more than one relation`,
		header + "LR,a,Cat,cat,S,on the left of,to the right of,P\n":         `f.csv:2:10: column "object": subject and object are both "cat"`,
		header + "LR,a, ,log,S,on the left of,to the right of,P\n":           `column "animal": must not be empty`,
		header + "LR,a,cat. dog,log,S,on the left of,to the right of,P\n":    `column "animal": "cat. dog" must not contain a full stop`,
		header + "LR,a b,cat,log,S,on the left of,to the right of,P\n":       `f.csv:2:4: column "prompt_id": "a b": use letters`,
		header + "LR,a,cat,log,S,on the left of,to the right of,\n":          `column "prompt": must not be empty`,
		header + "LR,a,cat,log,S,on the left of,to the right of,\"P\nQ\"\n":  `column "prompt": must not contain control characters`,
		header + "LR,a,cat,log,S,on the left of,to the right of,\"P\n":       "f.csv:2:50: extraneous or missing \" in quoted-field",
		header + good + "LR,b,cat," + strings.Repeat("x", 65) + ",S,L,R,P\n": `f.csv:3:10: column "object": is longer than 64 bytes`,
		header + "LR,a,cat,log,S,L,R," + strings.Repeat("x", 2001) + "\n":    `column "prompt": is longer than 2000 bytes`,
		header + "LR,a,cat,log," + strings.Repeat("x", 513) + ",L,R,P\n":     `column "scene": is longer than 512 bytes`,
		header + "LR," + strings.Repeat("x", 129) + ",cat,log,S,L,R,P\n":     `column "prompt_id": is longer than 128 bytes`,
		header + "LR,a,cat,log,S,L,R,\xff\n":                                 `f.csv:2:20: column "prompt": is not valid UTF-8`,
	} {
		if set, err := Read(strings.NewReader(text), "f.csv"); err == nil || !strings.HasPrefix(err.Error(), "f.csv:") || !strings.Contains(err.Error(), message) {
			t.Errorf("%q: %v, error %v, want %q", text, set, err, message)
		}
	}
}

func TestBadJSONL(t *testing.T) {
	line := func(change, to string) string {
		return strings.Replace(`{"promptID":"a","type":"LR","subject":"cat","object":"log","prompt":"P"}`, change, to, 1) + "\n"
	}
	for text, message := range map[string]string{
		"":                       "f.jsonl: there are no prompts",
		line(`"type":"LR",`, ``): `f.jsonl:1: column 61: field "type" is missing`,
		line(`"type":"LR"`, `"type":"LR","seed":1`):       `f.jsonl:1: column 29: unknown field "seed"`,
		line(`"LR"`, `"LX"`):                              `f.jsonl:1: type: type "LX": final unknown relation "X"`,
		line(`"LR"`, `"RR"`):                              `f.jsonl:1: type: type "RR" does not change the relation`,
		line(`"log"`, `" CAT"`):                           `f.jsonl:1: object: subject and object are both "CAT"`,
		line("", "") + "\n" + line("", ""):                `f.jsonl:3: promptID: prompt id a is already in line 1`,
		line(`"promptID":"a"`, `"promptID":"-a"`):         `f.jsonl:1: promptID: "-a": use letters, digits`,
		line(`"prompt":"P"`, `"prompt":"P\u0000"`):        `f.jsonl:1: prompt: must not contain control characters`,
		line(`"prompt":"P"`, `"prompt":"P"`) + "rest":     `f.jsonl:2: column 1: want an object, found 'r'`,
		line(`"subject":"cat"`, `"subject":["cat"]`):      `f.jsonl:1: column 39: subject: want a string, found '['`,
		line(`"prompt":"P"`, `"prompt":"P","prompt":"Q"`): `field "prompt" is given twice`,
	} {
		if set, err := Read(strings.NewReader(text), "f.jsonl"); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%q: %v, error %v, want %q", text, set, err, message)
		}
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for k := range p {
		p[k] = '\n'
	}
	return len(p), nil
}

func TestEndlessFilesAreRefused(t *testing.T) {
	for _, name := range []string{"f.csv", "f.jsonl"} {
		if _, err := Read(spaces{}, name); err == nil || !strings.Contains(err.Error(), "larger than 16 MiB") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// What is read is valid, and reads back as JSONL.
func checkRead(t *testing.T, text, name string) {
	t.Helper()
	set, err := Read(strings.NewReader(text), name)
	if err != nil {
		if !strings.HasPrefix(err.Error(), name+":") {
			t.Fatalf("error %q does not name the file", err)
		}
		return
	}
	var b bytes.Buffer
	if err := Write(&b, set); err != nil {
		t.Fatal(err)
	}
	again, err := Read(&b, "again.jsonl")
	if err != nil || !slices.Equal(again, set) {
		t.Fatalf("%+v reads back as %+v, %v", set, again, err)
	}
	if err := CheckOverlap(Named{"one", set}, Named{"other", []contract.PromptLine{set[0]}}); err == nil {
		t.Fatal("a set does not overlap with its own prompt")
	}
}

func addFile(f *testing.F, path string) {
	f.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
}

func FuzzCSV(f *testing.F) {
	addFile(f, "testdata/published.csv")
	f.Add("type,prompt_id,animal,object,scene,initial_SR,final_SR,prompt\nLR,a,cat,log,S,L,R,\xff\n")
	f.Fuzz(func(t *testing.T, text string) { checkRead(t, text, "f.csv") })
}

func FuzzJSONL(f *testing.F) {
	addFile(f, "testdata/published.jsonl")
	f.Fuzz(func(t *testing.T, text string) { checkRead(t, text, "f.jsonl") })
}
