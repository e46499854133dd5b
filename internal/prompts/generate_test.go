package prompts

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/dsr"
)

func generate(t testing.TB, g contract.Generate) []contract.PromptLine {
	t.Helper()
	set, err := Generate(g)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// A generated set must never change: runs are addressed by what their prompts say.
func TestGenerateGolden(t *testing.T) {
	var got bytes.Buffer
	if err := Write(&got, generate(t, contract.Generate{Count: 18, Seed: 1})); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/generated.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}

func anyDescription() *rapid.Generator[contract.Generate] {
	return rapid.Custom(func(t *rapid.T) contract.Generate {
		var names []string
		for _, kind := range dsr.Types() {
			names = append(names, kind.String())
		}
		names = rapid.Permutation(names).Draw(t, "relations")[:rapid.IntRange(1, 6).Draw(t, "kinds")]
		return contract.Generate{
			Relations: names,
			Count:     rapid.IntRange(1, 10*len(names)).Draw(t, "count"),
			Seed:      rapid.Uint64().Draw(t, "seed"),
			Split:     rapid.SampledFrom([]string{"", SplitTrain, SplitEvaluation, SplitTest}).Draw(t, "split"),
		}
	})
}

func TestGeneratedSetsAreBalancedDistinctAndValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := anyDescription().Draw(t, "description")
		set, err := Generate(g)
		if err != nil || len(set) != g.Count {
			t.Fatalf("%d prompts, %v", len(set), err)
		}
		byType, triples := map[string]int{}, map[triple]bool{}
		var check checker
		for k := range set {
			byType[set[k].Type]++
			triples[tripleOf(&set[k])] = true
			if err := check.check(&set[k], k+1); err != nil {
				t.Fatalf("%+v: %v", set[k], err)
			}
			if g.Split == SplitTrain && HeldOut(set[k]) {
				t.Fatalf("training prompt %s names a held-out class", set[k].PromptID)
			}
		}
		if len(triples) != g.Count {
			t.Fatalf("%d distinct prompts of %d", len(triples), g.Count)
		}
		for _, name := range g.Relations {
			if n := byType[name]; n < g.Count/len(g.Relations) || n > g.Count/len(g.Relations)+1 {
				t.Fatalf("%d of %d prompts are %s", n, g.Count, name)
			}
		}
		if again, err := Generate(g); err != nil || !slices.Equal(again, set) {
			t.Fatalf("the same description gave another set (%v)", err)
		}
	})
}

func TestSplitsNeverOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sets []Named
		for _, split := range []string{SplitTrain, SplitEvaluation, SplitTest} {
			set, err := Generate(contract.Generate{Count: 60, Seed: rapid.Uint64().Draw(t, split), Split: split})
			if err != nil {
				t.Fatal(err)
			}
			sets = append(sets, Named{split, set})
		}
		if err := CheckOverlap(sets...); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSplitsShareTheSpace(t *testing.T) {
	var seen, heldOut = map[string]float64{}, map[string]float64{}
	all := generate(t, contract.Generate{Count: 864, Seed: 1})
	for k := range all {
		if HeldOut(all[k]) {
			heldOut[splitOf(&all[k])]++
		} else {
			seen[splitOf(&all[k])]++
		}
	}
	for split, want := range map[string]float64{SplitTrain: 0.7, SplitEvaluation: 0.2, SplitTest: 0.1} {
		if got := seen[split] / 600; got < want-0.05 || got > want+0.05 {
			t.Errorf("split %s has %.2f of the classes that training may see, want %.1f", split, got, want)
		}
	}
	if heldOut[SplitTrain] != 0 || heldOut[SplitEvaluation] < 40 || heldOut[SplitTest] < 20 {
		t.Errorf("held-out prompts by split: %v", heldOut)
	}
}

func TestGeneratedSetsAreVaried(t *testing.T) {
	set := generate(t, contract.Generate{Count: 30, Seed: 2, Split: SplitEvaluation})
	animals, objects, scenes := map[string]int{}, map[string]int{}, map[string]bool{}
	for _, p := range set {
		animals[p.Subject]++
		objects[p.Object]++
		scenes[p.Scene] = true
	}
	if len(animals) != 12 || len(objects) != 12 || len(scenes) != 30 {
		t.Errorf("%d animals, %d objects, %d scenes", len(animals), len(objects), len(scenes))
	}
	other := generate(t, contract.Generate{Count: 30, Seed: 3, Split: SplitEvaluation})
	if slices.Equal(set, other) {
		t.Error("another seed gave the same set")
	}
}

func TestSentences(t *testing.T) {
	form := regexp.MustCompile(`^[A-Z][a-z ]+(October)?, an? ([a-z]+) is on the (left|right|top) of an? ([a-z]+), then the ([a-z]+) [a-z]+ to the (left|right|top) of the ([a-z]+)\.$`)
	for _, p := range generate(t, contract.Generate{Count: 864, Seed: 5}) {
		m := form.FindStringSubmatch(p.Prompt)
		if len(m) == 0 || m[2] != p.Subject || m[5] != p.Subject || m[4] != p.Object || m[7] != p.Object {
			t.Fatalf("%s: %s", p.PromptID, p.Prompt)
		}
		if got := strings.ToUpper(m[3][:1] + m[6][:1]); got != p.Type {
			t.Fatalf("%s says %s: %s", p.PromptID, got, p.Prompt)
		}
		if !strings.HasPrefix(p.Prompt, p.Scene+" ") || p.PromptID != p.Type+"-"+p.Subject+"-"+p.Object {
			t.Fatalf("%+v", p)
		}
	}
}

func TestVocabulary(t *testing.T) {
	for _, list := range [][]string{Animals(), Objects(), scenes} {
		if !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Errorf("%v is not sorted or repeats itself", list)
		}
	}
	if len(Animals()) != 12 || len(Objects()) != 12 || len(scenes) < 40 {
		t.Errorf("%d animals, %d objects, %d scenes", len(Animals()), len(Objects()), len(scenes))
	}
	for _, animal := range Animals() {
		if len(verbs[animal]) < 3 {
			t.Errorf("verbs of %s: %v", animal, verbs[animal])
		}
	}
	for _, scene := range scenes {
		for _, noun := range append(Animals(), Objects()...) {
			if regexp.MustCompile(`(?i)\b` + noun + `s?\b`).MatchString(scene) {
				t.Errorf("a detector would find the %s of %q", noun, scene)
			}
		}
	}
	if got := withArticle("owl") + withArticle("cat"); got != "an owla cat" {
		t.Errorf("articles: %s", got)
	}
}

func TestGenerateRefuses(t *testing.T) {
	for message, g := range map[string]contract.Generate{
		`type "XY": initial unknown relation "X"`: {Relations: []string{"XY"}, Count: 1},
		`relations: type "LU": final relation U`:  {Relations: []string{"LU"}, Count: 1},
		`relations: LR is given twice`:            {Relations: []string{"LR", "LR"}, Count: 1},
		`unknown split "dev"`:                     {Count: 1, Split: "dev"},
		`count 0 is outside 1 to 864`:             {},
		`count -1 is outside`:                     {Count: -1},
		`count 145 is outside 1 to 144`:           {Relations: []string{"TL"}, Count: 145},
		`count 100000 is outside 1 to `:           {Count: 100000, Split: SplitTest},
	} {
		if _, err := Generate(g); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("error %v, want %q", err, message)
		}
	}
}

// The maximum that the error names can be generated.
func TestTheNamedMaximumIsThere(t *testing.T) {
	for _, split := range []string{"", SplitTrain, SplitEvaluation, SplitTest} {
		_, err := Generate(contract.Generate{Count: 1 << 20, Split: split})
		var count, most int
		if _, scanErr := fmt.Sscanf(err.Error(), "count %d is outside 1 to %d,", &count, &most); scanErr != nil {
			t.Fatal(err, scanErr)
		}
		if set, err := Generate(contract.Generate{Count: most, Split: split}); err != nil || len(set) != most {
			t.Errorf("split %q: %d of %d prompts, %v", split, len(set), most, err)
		}
	}
}
