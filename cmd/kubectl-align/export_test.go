package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
)

func TestExport(t *testing.T) {
	p := newPod(t)
	one := p.accepted()
	one.Status.Best = &v1alpha1.BestAdapter{Iteration: new(int32(2)), ModelCard: p.put("runs/uid-one/2/model-card.md", "# card")}
	one.Status.Iterations[0].Adapter = p.put("runs/uid-one/1/adapter.safetensors", "first weights")
	one.Status.Iterations[1].Adapter = p.put("runs/uid-one/2/adapter.safetensors", "best weights")
	pairs := p.put("runs/uid-one/2/pairs.jsonl", "pairs")
	one.Status.Iterations[1].Pairs = &v1alpha1.PairSummary{Artifact: pairs}
	dataset := &v1alpha1.PreferenceDataset{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "mine"}}
	dataset.Status.Runtime, dataset.Status.Summary = one.Status.Runtime, &v1alpha1.PairSummary{Artifact: pairs}

	for name, c := range map[string]struct {
		args []string
		want map[string]string
	}{
		"the best":          {[]string{"one"}, map[string]string{"adapter.safetensors": "best weights", "model-card.md": "# card", "pairs.jsonl": "pairs", "lineage.json": ""}},
		"another iteration": {[]string{"one", "--iteration", "1"}, map[string]string{"adapter.safetensors": "first weights", "lineage.json": ""}},
		"a dataset":         {[]string{"--dataset", "mine"}, map[string]string{"pairs.jsonl": "pairs"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "made")
			out, err := p.execute(append([]string{"export", "-o", dir}, c.args...), one, dataset)
			if err != nil {
				t.Fatal(err)
			}
			files, err := os.ReadDir(dir)
			if err != nil || len(files) != len(c.want) {
				t.Errorf("%d files, %v, want %d", len(files), err, len(c.want))
			}
			for file, content := range c.want {
				data, err := os.ReadFile(filepath.Join(dir, file))
				if err != nil || content != "" && string(data) != content || !strings.Contains(out, filepath.Join(dir, file)+"\n") {
					t.Errorf("%s: %q, %v; printed\n%s", file, data, err, out)
				}
			}
		})
	}
}

func TestExportRefuses(t *testing.T) {
	p := newPod(t)
	one, unpaired := p.accepted(), &v1alpha1.PreferenceDataset{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "unpaired"}}
	p.put("runs/uid-one/1/lineage.json", "changed")
	dir := filepath.Join(t.TempDir(), "never")
	for want, args := range map[string][]string{
		"has no best adapter yet":                            {"one"},
		"has no iteration 7 in its status":                   {"one", "--iteration", "7"},
		"runs/uid-one/1/lineage.json":                        {"one", "--iteration", "1"},
		"is not complete":                                    {"--dataset", "unpaired"},
		"not both":                                           {"one", "--dataset", "unpaired"},
		`preferencedatasets.alignment.spatialalign.dev "no"`: {"--dataset", "no"},
		"iteration 3 has nothing in the store":               {"one", "--iteration", "3"},
	} {
		if _, err := p.execute(append([]string{"export", "-o", dir}, args...), one, unpaired); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", args, err, want)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("a folder was made: %v", err)
	}
}
