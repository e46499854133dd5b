//go:build faults

package faults

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/spatialalign/operator/internal/contract"
)

// word is the last word of a stage's shard that ended well. It is a function of the stage's spec: two runs that ask for
// the same get the same, whatever their names and UIDs.
func word(spec *contract.Spec, shard int) string {
	data, err := json.Marshal(said(spec, shard, timeless(spec)))
	if err != nil {
		panic(err) // plain data
	}
	return string(data)
}

// said is what a shard says whose work is known by its content.
func said(spec *contract.Spec, shard int, content string) contract.Termination {
	artifact := func(name string) contract.Artifact {
		return contract.Artifact{Key: path.Join(spec.Output, name), Digest: contract.Digest([]byte(content + "\n" + name))}
	}
	manifest := artifact(fmt.Sprintf("%d/manifest.json", shard))
	t := contract.Termination{Class: contract.ExitDone.Class(), Manifest: &manifest, Outputs: map[string]contract.Artifact{}}
	for _, name := range spec.Outputs() {
		t.Outputs[name] = artifact(name)
	}
	if tell := numbers[spec.Stage]; tell != nil {
		t.Counts, t.Metrics = tell(spec)
	}
	return t
}

type (
	counts  = map[string]int64
	metrics = map[string]string
)

// numbers are what each stage counts and measures. A stage without an entry has none.
var numbers = map[contract.Stage]func(*contract.Spec) (counts, metrics){
	contract.Prepare: func(s *contract.Spec) (counts, metrics) {
		c := counts{}
		for _, source := range s.Prepare.Prompts {
			c[source.Name+"/prompts"] = prompts
		}
		for _, set := range s.Prepare.Sets {
			n := int64(prompts * set.SamplesPerPrompt)
			c[set.Name+"/total"], c[set.Name+"/missing"], c[set.Name+"/untracked"] = n, n, n
		}
		return c, nil
	},
	contract.Score: func(s *contract.Spec) (counts, metrics) {
		total := int64(150)
		if strings.HasPrefix(s.Score.Index.Key, hugeIndex) {
			total = hugeSamples
		}
		m := metrics{"meanScore": "0.5", "guard/frozenFrames": "0.01"}
		for tenth := range 10 {
			at := float64(tenth) / 10
			m[fmt.Sprintf("accuracy/%.1f", at)] = fmt.Sprintf("%.6f", min(1, accuracy(s.Score.Index.Key)+0.3*(0.7-at)))
		}
		return counts{"total": total, "scored": total - 10, "invalid": 10, "missing": 0}, m
	},
	contract.Pair: func(*contract.Spec) (counts, metrics) {
		c := counts{"pairs": 900, "prompts": prompts, "usablePrompts": 25}
		for name, n := range (counts{"winners": 60, "losers": 80, "invalid": 10, "missing": 0}) {
			c[name], c["latest/"+name] = n, n
		}
		return c, nil
	},
	contract.Train: func(s *contract.Spec) (counts, metrics) {
		return counts{"steps": int64(s.Train.Training.Steps)}, metrics{"loss": "0.61", "margin": "0.4"}
	},
	contract.Compare: func(*contract.Spec) (counts, metrics) {
		return counts{"prompts": prompts, "samples": 600}, metrics{"delta": "0.1", "lowerBound": "0.05", "upperBound": "0.15"}
	},
}

// hugeSamples is how many samples an index below hugeIndex lists.
const (
	hugeIndex   = "huge/"
	hugeSamples = 100_000
)

var iterationOfKey = regexp.MustCompile(`/([0-9]{4,})/`)

// accuracy at 0.7 rises with every iteration, ever more slowly: 0.35 for the base model, then 0.45, 0.5, 0.525, ...
func accuracy(index string) float64 {
	found := iterationOfKey.FindStringSubmatch(index)
	if found == nil {
		return 0.35
	}
	k, err := strconv.Atoi(found[1])
	if err != nil {
		return 0.35
	}
	rise := 0.1
	a := 0.35
	for range min(k, 20) {
		a += rise
		rise /= 2
	}
	return a
}

var (
	uid       = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	childName = regexp.MustCompile(`[a-z0-9][a-z0-9-]*-[0-9a-f]{8}(-[0-9]+-[a-z-]+-[0-9]+)`)
)

// timeless is a stage spec without what differs between two runs of the same spec.
func timeless(spec *contract.Spec) string {
	s, namespace := *spec, ""
	if s.Lineage != nil {
		lineage := *s.Lineage
		namespace, lineage.Record.Run = lineage.Record.Namespace, ""
		lineage.Record.Results = maps.Clone(lineage.Record.Results)
		delete(lineage.Record.Results, "gpuSeconds") // a stage that is tried again costs more
		s.Lineage = &lineage
	}
	data, _ := s.Encode()
	text := uid.ReplaceAllString(string(data), "UID") // the names of children stand in no spec
	if namespace != "" {
		text = strings.ReplaceAll(text, namespace, "NAMESPACE")
	}
	return text
}

// nameless replaces UIDs and the names of children, which hold one.
func nameless(text string) string {
	return childName.ReplaceAllString(uid.ReplaceAllString(text, "UID"), "CHILD$1")
}
