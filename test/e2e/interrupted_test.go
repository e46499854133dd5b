//go:build e2e

package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/worker/synthetic/stages"
)

var seed = flag.Uint64("seed", 0, "seed of the interruptions; 0 draws one")

// pacedRun lasts about two minutes when nobody interrupts it, most of which its pods pause.
const pacedRun = `
apiVersion: alignment.spatialalign.dev/v1alpha1
kind: AlignmentRun
metadata: {name: paced-run}
spec:
  runtimeRef: {name: synthetic-paced}
  prompts:
    train:      {generate: {count: 30, seed: 1}}
    evaluation: {generate: {count: 30, seed: 2}}
  evaluation: {samplesPerPrompt: 4}
  iterations: 2
`

// pacedRuntime is the runtime synthetic, pausing after each sample and step.
func (c cluster) pacedRuntime() {
	c.Helper()
	var synthetic v1alpha1.AlignmentRuntime
	if err := c.Get(c.Context(), client.ObjectKey{Name: "synthetic"}, &synthetic); err != nil {
		c.Fatal(err)
	}
	paced := v1alpha1.AlignmentRuntime{ObjectMeta: metav1.ObjectMeta{Name: "synthetic-paced"}, Spec: synthetic.Spec}
	for _, stage := range []*v1alpha1.StageTemplate{&paced.Spec.Sample, &paced.Spec.Train} {
		stage.Env = []v1alpha1.EnvVar{{Name: stages.EnvPace, Value: ptr.To("150")}}
	}
	c.create(&paced)
}

// undisturbed is how the paced run ends when it is left alone.
func undisturbed(t *testing.T, ns string) *v1alpha1.AlignmentRun {
	c := connect(t)
	c.apply(pacedRun, ns)
	return c.succeeded(ns, "paced-run", 12*time.Minute)
}

// interrupted disturbs the paced run at random moments: in every way four times, and the operator's pod is killed ten times. It comes to the same as the run left alone, and no sample
// that was committed is made again.
func interrupted(t *testing.T, calm *v1alpha1.AlignmentRun) {
	random := *seed
	for random == 0 {
		random = rand.Uint64()
	}
	c := connect(t)
	ns := c.namespace("e2e-interrupted")
	c.apply(pacedRun, ns)
	d := &disturber{cluster: c, ns: ns, random: rand.New(rand.NewPCG(random, 0)), counts: map[string]int{}}
	var todo []kind
	for _, k := range d.kinds() {
		times := 4
		if k.name == operatorKilled {
			times = 10
		}
		todo = append(todo, slices.Repeat([]kind{k}, times)...)
	}
	d.random.Shuffle(len(todo), func(i, j int) { todo[i], todo[j] = todo[j], todo[i] })

	var watched *store
	for i, k := range todo {
		d.pause(time.Duration(d.random.Int64N(int64(6 * time.Second))))
		if phase := c.run(ns, "paced-run").Status.Phase; phase == v1alpha1.PhaseSucceeded || phase == v1alpha1.PhaseFailed {
			t.Fatalf("the run ended as %s after %d interruptions (seed %d): %s", phase, i, random, d.summary())
		}
		k.interrupt(k.name)
		if watched == nil {
			watched = c.openStore(ns)
		}
		watched.look()
	}
	run := c.succeeded(ns, "paced-run", 10*time.Minute)
	watched.look()

	if diff := cmp.Diff(result(calm), result(run)); diff != "" {
		t.Errorf("the outcome differs (-left alone +interrupted):\n%s", diff)
	}
	made := watched.compare(c.openStore(calm.Namespace))
	c.tell("interrupted at %d random moments (seed %d): %s; best adapter %s as undisturbed; %s",
		len(todo), random, d.summary(), strings.TrimPrefix(string(run.Status.Best.Adapter.Digest), "sha256:")[:12], made)
}

// tell adds a line to the log and to the report that hack/e2e.sh prints.
func (c cluster) tell(format string, args ...any) {
	c.Helper()
	c.Logf(format, args...)
	path := os.Getenv("E2E_REPORT")
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		c.Fatal(err)
	}
	defer file.Close()
	if _, err := fmt.Fprintf(file, c.Name()+": "+format+"\n", args...); err != nil {
		c.Fatal(err)
	}
}
