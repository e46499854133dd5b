//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/lineage"
	"github.com/spatialalign/operator/internal/retention"
	"github.com/spatialalign/operator/internal/verify"
)

// kept reads the lineage of an ended run, verifies its artifacts, spoils one, and collects what nothing refers to: nothing
// while the run exists, and everything but the user's own files once it is gone.
func kept(c cluster, ns string, run *v1alpha1.AlignmentRun) {
	c.Helper()
	var chain []lineage.Link
	c.answer(&chain, "lineage", run.Name, "-n", ns, "-o", "json")
	if len(chain) != len(run.Status.Iterations)-1 {
		c.Errorf("the lineage has %d records, of %d iterations", len(chain), len(run.Status.Iterations)-1)
	}
	if best := run.Status.Best; len(chain) == 0 || chain[0].Record.Iteration != int(*best.Iteration) ||
		chain[0].Record.Artifacts["adapter"].Digest != string(best.Adapter.Digest) {
		c.Errorf("the newest record is not of the best adapter, %s of iteration %d: %+v", best.Adapter.Digest, *best.Iteration, chain)
	}

	var sound verify.Result
	c.answer(&sound, "verify", run.Name, "-n", ns, "-o", "json")
	checked := map[string]int64{}
	for _, kind := range sound.Kinds {
		checked[kind.Kind] = kind.Checked
	}
	if checked["video"] == 0 || checked["video"] != checked["sample"] {
		c.Errorf("verify has checked %v", checked)
	}

	s := c.openStore(ns)
	video := s.files("samples/*/*/*/video.gif")[0]
	was := s.read(video)
	c.write(video, was[:len(was)-1])
	key, err := filepath.Rel(s.dir, video)
	if err != nil {
		c.Fatal(err)
	}
	if out, err := c.tryPlugin("verify", run.Name, "-n", ns); err == nil || !strings.Contains(out, key) {
		c.Errorf("verify does not tell that %s is cut: %v\n%s", key, err, out)
	}
	c.write(video, was)

	mine := filepath.Join(s.dir, "mine", "prompts.jsonl")
	if err := os.MkdirAll(filepath.Dir(mine), 0o755); err != nil {
		c.Fatal(err)
	}
	c.write(mine, []byte("{}\n"))
	c.plugin("gc", "-n", ns, "--min-age", "0s", "--delete")
	c.answer(&verify.Result{}, "verify", run.Name, "-n", ns, "-o", "json") // what is in use has stayed

	named := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: ns, Name: name} }
	for _, o := range []client.Object{
		run, &v1alpha1.ScoringBatch{ObjectMeta: named("my-videos")}, &v1alpha1.PreferenceDataset{ObjectMeta: named("my-pairs")},
	} {
		if err := c.Delete(c.Context(), o, client.PropagationPolicy(metav1.DeletePropagationForeground)); err != nil {
			c.Fatal(err)
		}
		c.eventually(2*time.Minute, o.GetName()+" is gone", func() bool {
			return apierrors.IsNotFound(c.Get(c.Context(), client.ObjectKeyFromObject(o), o))
		})
	}
	var dry, done retention.Result
	collect := []string{"gc", "-n", ns, "--image", c.operatorImage(), "--runtime", run.Spec.RuntimeRef.Name, "--min-age", "0s", "-o", "json"}
	c.answer(&dry, collect...)
	if left := s.files("samples/*/*/sample.json"); dry.Deleted || len(left) != int(checked["sample"]) {
		c.Errorf("after a dry run %d samples are left, of %d", len(left), checked["sample"])
	}
	c.answer(&done, append(slices.Clone(collect), "--delete")...)
	if left := s.files("samples/*/*/sample.json"); !done.Deleted || len(left) > 0 {
		c.Errorf("%d samples outlive the run that they were made for", len(left))
	}
	s.read(mine)
}

// operatorImage is what the operator runs, for a namespace that has no Job left to tell it.
func (c cluster) operatorImage() string {
	c.Helper()
	var deployment appsv1.Deployment
	if err := c.Get(c.Context(), client.ObjectKey{Namespace: "spatialalign-system", Name: "spatialalign-operator"}, &deployment); err != nil {
		c.Fatal(err)
	}
	return deployment.Spec.Template.Spec.Containers[0].Image
}

// answer runs kubectl-align and decodes the JSON that it prints.
func (c cluster) answer(into any, args ...string) {
	c.Helper()
	if out := c.plugin(args...); json.Unmarshal([]byte(out), into) != nil {
		c.Fatalf("kubectl align %s prints no JSON of a %T:\n%s", strings.Join(args, " "), into, out)
	}
}

func (c cluster) write(path string, data []byte) {
	c.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		c.Fatal(err)
	}
}
