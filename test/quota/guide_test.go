//go:build quota

package quota

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// TestGuide gives the commands of the guide as they are written and in its order. What this cluster has otherwise is told by instead: its one
// node, the name of a Workload that the operator makes, and behind the runtime's name the synthetic one, with GPUs.
func TestGuide(t *testing.T) {
	c := connect(t)
	c.Cleanup(func() {
		c.kubectl("delete -f config/samples/kueue/queues.yaml -f config/samples/kueue/priorities.yaml --ignore-not-found --timeout=60s")
	})
	for _, name := range []string{"team-a", "team-b", "team-c"} {
		c.Cleanup(func() { c.kubectl("delete namespace %s --ignore-not-found --timeout=120s", name) })
	}
	g := c.guide("2. Flavours and quotas", "3. Runs", "6. Reserve for the whole run", "Runtime policy", "Who uses what")

	// Flavours and quotas. What the guide says of namespaces, weights and the runtime is no command of it.
	g.instead("gpu-0", "node0")
	g.gives("kubectl label node gpu-0", "node/node0 (not )?labeled")
	g.gives("kubectl create namespace team-a", "namespace/team-a created")
	g.gives("kubectl create namespace team-b", "namespace/team-b created")
	g.gives("kubectl apply -f config/samples/kueue/queues.yaml", `(?s)resourceflavor.*/h100.*clusterqueue.*/team-a.*localqueue.*/gpus.*workloadpriorityclass.*/spare`)
	c.namespace("team-a", "")
	c.namespace("team-b", "")
	c.standIn("wan2.1-t2v-1.3b", "team-a", "team-b")

	// Runs: team A borrows, and team B takes its own back.
	g.gives("kubectl apply -f config/samples/kueue/borrowing-run.yaml", "alignmentrun.*/borrowing-run created")
	g.sees("kubectl -n team-a get alignmentrun borrowing-run", `"reason":"Admitted".*"status":"True"`)
	c.within(2*time.Minute, "team A has borrowed 4 GPUs", func() bool { return c.borrowed("team-a") == "4" })
	g.gives("kubectl apply -f config/samples/kueue/owner-run.yaml", "alignmentrun.*/owner-run created")
	took := c.within(3*time.Minute, "team B has its 4 GPUs", func() bool { return c.reserved("team-b") == "4" })
	if got := c.borrowed("team-a"); got != "" && got != "0" {
		t.Errorf("team A has borrowed %s GPUs still", got)
	}
	settled := time.Now()
	for _, name := range []string{"team-a", "team-b"} {
		c.within(4*time.Minute, "the run of "+name+" has its baseline's samples", func() bool { return c.baseline(name) })
	}
	shared := time.Since(settled)
	c.kubectl("delete alignmentrun -n team-a borrowing-run --timeout=60s")
	c.kubectl("delete alignmentrun -n team-b owner-run --timeout=60s")

	// A reservation for the whole run, which the admin takes back.
	g.gives("kubectl apply -f config/samples/kueue/whole-run.yaml", "alignmentrun.*/whole-run created")
	g.sees("kubectl -n team-a get workload", `whole-run-\w+-reservation +gpus +team-a +True`)
	run := &v1alpha1.AlignmentRun{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "whole-run"}}
	c.refresh(run)
	workload := c.reservation(run).GetName()
	g.instead("whole-run-1a2b3c4d-reservation", workload)
	g.gives("kubectl -n team-a patch workload whole-run-1a2b3c4d-reservation", "patched")
	c.says(time.Minute, run, v1alpha1.ConditionQuotaReserved, metav1.ConditionFalse, "Deactivated")
	c.patch("workload -n team-a "+workload, `{"spec": {"active": true}}`) // as its comment says
	c.within(2*time.Minute, "the run samples", func() bool { return c.ran(run) })

	// Runtime policy: a third team is refused, and a run of the first is held, and stopped.
	g.gives("kubectl patch alignmentruntime wan2.1-t2v-1.3b --type merge -p '\n", "patched")
	g.gives("kubectl create namespace team-c", "namespace/team-c created")
	g.refused("sed 's/team-a/team-c/'")
	g.gives("kubectl patch alignmentruntime wan2.1-t2v-1.3b --type merge -p '{", "patched")
	g.sees("kubectl -n team-a get alignmentruns", `whole-run +Suspended`)
	c.says(10*time.Second, run, v1alpha1.ConditionSuspended, metav1.ConditionTrue, v1alpha1.ReasonNamespaceNotAllowed)
	g.gives("kubectl -n team-a patch alignmentrun whole-run", "patched")
	c.within(time.Minute, "no pod of it has a GPU", func() bool { return c.onGPUs(run) == 0 })

	// Who uses what.
	g.sees("kubectl align usage -A --by namespace", `NAMESPACE +GPU-HOURS(?s:.*)\nteam-a +\S*[1-9]`)
	g.sees("kubectl get clusterqueues -o wide", `team-a(?s:.*)team-b`)
	g.done()
	c.tell("%d commands of the guide do what it says; team B has its GPUs %.0f s after it asks, and both runs have their baseline's samples %.0f s later",
		g.given, took.Seconds(), shared.Seconds())
}

// TestEarlierKueue: what the guide says of a Kueue that does not serve the API of the manifests makes manifests of them that it takes.
func TestEarlierKueue(t *testing.T) {
	c := connect(t)
	versions := c.kubectl(`get crd clusterqueues.kueue.x-k8s.io -o jsonpath={.spec.versions[?(@.served==true)].name}`)
	if !slices.Contains(strings.Fields(versions), "v1beta1") {
		t.Skipf("this Kueue serves %s only", versions)
	}
	c.namespace("team-a", "")
	c.namespace("team-b", "")
	g := c.guide("1. Install")
	sed := regexp.MustCompile(`^(sed .*) config/samples/kueue/queues.yaml \| kubectl apply -f -`).FindStringSubmatch(g.commands[0].text)
	if sed == nil {
		t.Fatalf("the command is %s", g.commands[0].text)
	}
	for _, file := range []string{"queues", "priorities", "flavours-per-stage"} {
		out, err := c.shell(sed[1] + " config/samples/kueue/" + file + ".yaml | kubectl apply --dry-run=server --validate=strict -f -")
		if err != nil {
			t.Error(err)
		}
		t.Log(out)
	}
	if out, err := c.shell(sed[1] + " config/samples/kueue/queues.yaml | kubectl create --dry-run=server -o yaml -f -"); err != nil || strings.Count(out, "cohort: gpus") != 2 {
		t.Errorf("the queues of both teams are in the cohort: %v\n%s", err, out)
	}
}

// guide is what a reader of docs/admin.md gives to the cluster.
type guide struct {
	cluster
	commands []command
	swaps    []string
	given    int
}

// command of the guide, with the lines that it shows after one with a prompt.
type command struct{ text, shown string }

// guide reads the commands of some sections: indented lines that begin with one, or with a prompt.
func (c cluster) guide(sections ...string) *guide {
	c.Helper()
	g := &guide{cluster: c}
	page := "\n" + c.file("docs/admin.md")
	for _, title := range sections {
		_, text, found := strings.Cut(page, "\n## "+title+"\n")
		if !found {
			c.Fatalf("the guide has no section %q", title)
		}
		text, _, _ = strings.Cut(text, "\n## ")
		for _, block := range regexp.MustCompile(`(?m)(?:^    .*\n)+`).FindAllString(text, -1) {
			g.read(strings.Split(strings.TrimSuffix(block, "\n"), "\n"))
		}
	}
	return g
}

// read the lines of a block. A quotation may go on over several.
func (g *guide) read(block []string) {
	open := false
	for i, line := range block {
		line = strings.TrimPrefix(line, "    ")
		prompt := strings.HasPrefix(line, "$ ")
		line = strings.TrimPrefix(line, "$ ")
		last := len(g.commands) - 1
		switch {
		case open:
			g.commands[last].text += "\n" + line
		case prompt || strings.HasPrefix(line, "kubectl ") || strings.HasPrefix(line, "sed "):
			g.commands = append(g.commands, command{text: line})
		case i > 0:
			g.commands[last].shown += line + "\n"
		default:
			return // it shows what somebody says
		}
		if strings.Count(line, "'")%2 == 1 {
			open = !open
		}
	}
}

// instead of a word of the guide this cluster has another.
func (g *guide) instead(word, here string) { g.swaps = append(g.swaps, word, here) }

// next command, which must begin so, as this cluster is to be given it.
func (g *guide) next(begins string) command {
	g.Helper()
	if g.given == len(g.commands) || !strings.HasPrefix(g.commands[g.given].text, begins) {
		g.Fatalf("after %d commands the guide has %q, and not %q", g.given, g.commands[g.given:], begins)
	}
	next := g.commands[g.given]
	g.given++
	next.text = strings.NewReplacer(g.swaps...).Replace(next.text)
	return next
}

// gives the next command, which must go well, and show something.
func (g *guide) gives(begins, shows string) {
	g.Helper()
	out, err := g.shell(g.next(begins).text)
	if err != nil || !regexp.MustCompile(shows).MatchString(out) {
		g.Fatalf("it is to show %s, and shows, %v:\n%s", shows, err, out)
	}
}

// sees what the next command, a question, shows in time.
func (g *guide) sees(begins, shows string) {
	g.Helper()
	ask, out, limit := g.next(begins).text, "", time.Now().Add(3*time.Minute)
	for {
		var err error
		if out, err = g.shell(ask); err != nil {
			g.Fatal(err)
		}
		if regexp.MustCompile(shows).MatchString(out) {
			return
		}
		if time.Now().After(limit) {
			g.Fatalf("it is to show %s, and shows\n%s\n%s", shows, out, g.describe())
		}
		time.Sleep(2 * time.Second)
	}
}

// refused is the next command, in the words that the guide shows, where ... stands for any.
func (g *guide) refused(begins string) {
	g.Helper()
	next := g.next(begins)
	says := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(next.shown)), `\.\.\.`, ".*")
	if _, err := g.shell(next.text); err == nil || says == "" || !regexp.MustCompile(says).MatchString(err.Error()) {
		g.Errorf("it is to be refused with\n%s\nand is answered: %v", next.shown, err)
	}
}

// done checks that no command is left.
func (g *guide) done() {
	g.Helper()
	if left := g.commands[g.given:]; len(left) > 0 {
		g.Errorf("the guide has more commands: %q", left)
	}
}

// shell runs a command as who reads the guide does, with the plugin in the PATH.
func (c cluster) shell(line string) (string, error) {
	c.Helper()
	c.Logf("$ %s", line)
	bin, err := filepath.Abs(filepath.Join(root, "bin"))
	if err != nil {
		c.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(c.Context()), "bash", "-euo", "pipefail", "-c", line)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w\n%s%s", line, err, out, said.String())
	}
	return string(out), nil
}

// baseline says that the run of a namespace, its only one, has sampled its baseline: two teams get on beside each other.
func (c cluster) baseline(namespace string) bool {
	c.Helper()
	for _, run := range c.runs([]string{namespace}) {
		for _, it := range run.Status.Iterations {
			for _, rec := range it.Stages {
				if *it.Iteration == 0 && rec.Name == v1alpha1.StageEvaluationSample && rec.State == v1alpha1.StageSucceeded {
					return true
				}
			}
		}
	}
	return false
}

// standIn is a runtime of the guide on this cluster: the synthetic one, with as many GPUs as that has, and pauses.
func (c cluster) standIn(name string, namespaces ...string) {
	c.Helper()
	var synthetic v1alpha1.AlignmentRuntime
	if err := c.Get(c.Context(), client.ObjectKey{Name: "synthetic"}, &synthetic); err != nil {
		c.Fatal(err)
	}
	r := withGPUs(name, synthetic.Spec, 300*time.Millisecond)
	r.Spec.AllowedNamespaces = namespaces
	r.Spec.Sample.Env = r.Spec.Train.Env
	r.Spec.Train.Resources = r.Spec.Train.Resources.DeepCopy()
	r.Spec.Train.Resources.Limits[gpu] = resource.MustParse("8")
	r.Spec.Defaults.Sampling.SamplesPerPrompt, r.Spec.Defaults.Evaluation.SamplesPerPrompt = 2, 2
	c.create(r)
}

// reserved GPUs of a ClusterQueue, as Kueue tells.
func (c cluster) reserved(queue string) string {
	c.Helper()
	return c.kubectl(`get clusterqueue %s -o jsonpath={.status.flavorsReservation[0].resources[?(@.name=="nvidia.com/gpu")].total}`, queue)
}
