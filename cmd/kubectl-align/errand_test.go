package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/errand"
	"github.com/spatialalign/operator/internal/errand/dispatch"
	"github.com/spatialalign/operator/internal/export"
	"github.com/spatialalign/operator/internal/lineage"
	"github.com/spatialalign/operator/internal/retention"
	"github.com/spatialalign/operator/internal/verify"
)

// pod does an errand as a pod would, on a store in a folder.
type pod struct {
	testing.TB
	dir   string
	store *artifact.Store
	sent  []dispatch.Errand
}

func newPod(t *testing.T) *pod {
	t.Helper()
	dir := t.TempDir()
	store, err := artifact.Open(t.Context(), "file://"+dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return &pod{TB: t, dir: dir, store: store}
}

// Send implements sender.
func (p *pod) Send(ctx context.Context, e dispatch.Errand) ([]byte, error) {
	p.sent = append(p.sent, e)
	work := map[string]errand.Work{
		"export": export.Answer, "lineage": errand.Whole(lineage.Answer), "verify": errand.Whole(verify.Answer), "gc": errand.Whole(retention.Answer),
	}[e.Name]
	answer, err := work(ctx, p.store, e.Question, p.Logf)
	if err != nil {
		return nil, err
	}
	var sent bytes.Buffer
	err = answer(&sent)
	return sent.Bytes(), err
}

func (p *pod) put(key, data string) *v1alpha1.ArtifactReference {
	p.Helper()
	f, err := p.store.Write(p.Context(), key, strings.NewReader(data))
	if err != nil {
		p.Fatal(err)
	}
	return &v1alpha1.ArtifactReference{Key: v1alpha1.ArtifactKey(f.Key), Digest: v1alpha1.Digest(f.Digest)}
}

// record puts the lineage of an iteration.
func (p *pod) record(iteration int, previous *v1alpha1.ArtifactReference) *v1alpha1.ArtifactReference {
	p.Helper()
	adapter := p.put("runs/uid-one/adapter.safetensors", "weights")
	r := contract.LineageRecord{
		ContractVersion: contract.Version, Namespace: "team-a", Run: "one", UID: "uid-one", Iteration: iteration, Accepted: iteration == 1, Reason: "because",
		Spec: json.RawMessage(`{}`), Runtime: json.RawMessage(`{}`),
		Artifacts: map[string]contract.Artifact{"adapter": {Key: string(adapter.Key), Digest: string(adapter.Digest)}},
	}
	if previous != nil {
		r.Previous = &contract.Artifact{Key: string(previous.Key), Digest: string(previous.Digest)}
	}
	data, err := lineage.Encode(&r)
	if err != nil {
		p.Fatal(err)
	}
	return p.put("runs/uid-one/"+string(rune('0'+iteration))+"/lineage.json", string(data))
}

// accepted is a run with a store, whose two iterations have a lineage.
func (p *pod) accepted() *v1alpha1.AlignmentRun {
	p.Helper()
	object := run("one", v1alpha1.ConditionComplete)
	object.UID = "uid-one"
	object.Status.Runtime = &v1alpha1.RuntimeSnapshot{Spec: v1alpha1.AlignmentRuntimeSpec{Store: v1alpha1.StoreSpec{PVC: &v1alpha1.PVCStore{ClaimName: "store"}}}}
	first := p.record(1, nil)
	object.Status.Iterations = []v1alpha1.IterationStatus{
		{Iteration: new(int32(1)), Lineage: first}, {Iteration: new(int32(2)), Lineage: p.record(2, first)}, {Iteration: new(int32(3))},
	}
	return object
}

// execute a command with errands done here.
func (p *pod) execute(args []string, objects ...client.Object) (string, error) {
	p.Helper()
	return executeWith(p.TB, func(o *options) {
		o.dispatcher = func(*cluster, errandFlags) sender { return p }
	}, args, objects...)
}

// complaints is what a command that succeeds says on standard error.
func (p *pod) complaints(args []string, objects ...client.Object) string {
	p.Helper()
	var says bytes.Buffer
	if _, err := executeWith(p.TB, func(o *options) {
		o.dispatcher = func(*cluster, errandFlags) sender { return p }
		o.ErrOut = &says
	}, args, objects...); err != nil {
		p.Fatal(err)
	}
	return says.String()
}

func TestLineage(t *testing.T) {
	p := newPod(t)
	one := p.accepted()
	out, err := p.execute([]string{"lineage", "one"}, one)
	if err != nil || !strings.HasPrefix(out, "team-a/one, iteration 2, not accepted: because\n") || !strings.Contains(out, "team-a/one, iteration 1, accepted") {
		t.Errorf("%v, printed\n%s", err, out)
	}
	out, err = p.execute([]string{"lineage", "--iteration", "1", "-o", "json"}, one)
	var links []lineage.Link
	if err := errors.Join(err, json.Unmarshal([]byte(out), &links)); err != nil || len(links) != 1 || links[0].Record.Iteration != 1 {
		t.Errorf("%v, printed\n%s", err, out)
	}
	for want, args := range map[string][]string{
		"no record of iteration 7":      {"lineage", "one", "--iteration", "7"},
		"the only other format is json": {"lineage", "one", "-o", "yaml"},
		"has no lineage yet":            {"lineage", "new"},
	} {
		if _, err := p.execute(args, one, run("new", v1alpha1.ConditionReconciling)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", args, err, want)
		}
	}
	for _, command := range []string{"lineage", "verify"} {
		if says := p.complaints([]string{command, "one"}, one); !strings.Contains(says, "iteration 3 has no lineage: ") {
			t.Errorf("%s of a run whose last iteration has none says %q", command, says)
		}
	}
	if err := os.Remove(filepath.Join(p.dir, "runs/uid-one/1/lineage.json")); err != nil {
		t.Fatal(err)
	}
	out, err = p.execute([]string{"lineage", "one"}, one)
	if err == nil || !strings.Contains(err.Error(), "the chain is broken") || !strings.Contains(out, "iteration 2") {
		t.Errorf("a broken chain: %v, printed\n%s", err, out)
	}
}

func TestVerify(t *testing.T) {
	p := newPod(t)
	one := p.accepted()
	out, err := p.execute([]string{"verify", "one"}, one)
	if err != nil || out != "KIND      CHECKED   DEFECTS\nadapter   1         0\nlineage   2         0\n" {
		t.Errorf("%v, printed\n%s", err, out)
	}
	p.put("runs/uid-one/adapter.safetensors", "others")
	out, err = p.execute([]string{"verify", "one"}, one)
	if err == nil || err.Error() != "defects: 1" || !strings.Contains(out, "adapter runs/uid-one/adapter.safetensors: its digest is sha256:") {
		t.Errorf("%v, printed\n%s", err, out)
	}
	if _, err := p.execute([]string{"verify", "new"}, run("new", v1alpha1.ConditionReconciling)); !errors.Is(err, verify.ErrNotAccepted) {
		t.Errorf("a run that was not accepted: %v", err)
	}
}

func TestGC(t *testing.T) {
	p := newPod(t)
	one := p.accepted()
	p.put("runs/uid-deleted/adapter.safetensors", "old weights")
	out, err := p.execute([]string{"gc"}, one)
	if err != nil || !strings.Contains(out, "total              3        1           0         0 B\n") {
		t.Errorf("%v, printed\n%s", err, out)
	}
	out, err = p.execute([]string{"gc", "--min-age", "0s"}, one)
	if err != nil || !strings.Contains(out, "run files          3        0           1         11 B\n") || !strings.Contains(out, "--delete does") || p.sent[1].Writes {
		t.Errorf("%v, printed\n%s", err, out)
	}
	out, err = p.execute([]string{"gc", "--min-age", "0s", "--delete"}, one)
	if err != nil || !strings.Contains(out, "DELETED") || !p.sent[2].Writes {
		t.Errorf("%v, printed\n%s", err, out)
	}
	if keys, err := p.store.List(t.Context(), ""); err != nil || len(keys) != 3 {
		t.Errorf("left: %q, %v", keys, err)
	}
}

// TestGCStores: each store once; a runtime names one that no object uses.
func TestGCStores(t *testing.T) {
	p := newPod(t)
	one, two, batch := p.accepted(), p.accepted(), &v1alpha1.ScoringBatch{}
	two.Name, two.UID = "two", types.UID("uid-two")
	batch.ObjectMeta = metav1.ObjectMeta{Namespace: "team-a", Name: "batch", UID: "uid-batch"}
	s3 := v1alpha1.StoreSpec{S3: &v1alpha1.S3Store{Bucket: "bucket"}}
	batch.Status.Runtime = &v1alpha1.RuntimeSnapshot{Spec: v1alpha1.AlignmentRuntimeSpec{Store: s3}}
	if _, err := p.execute([]string{"gc"}, one, two, batch); err != nil || len(p.sent) != 2 || p.sent[1].Runtime.Store.S3 == nil {
		t.Errorf("%d errands, %v", len(p.sent), err)
	}
	var question retention.Question
	if err := json.NewDecoder(bytes.NewReader(p.sent[0].Question)).Decode(&question); err != nil || len(question.Roots.UIDs) != 3 {
		t.Errorf("%+v, %v", question, err)
	}
	other := &v1alpha1.AlignmentRuntime{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Spec: v1alpha1.AlignmentRuntimeSpec{Store: s3}}
	if _, err := p.execute([]string{"gc", "--runtime", "other"}, one, other); err != nil || len(p.sent) != 3 || p.sent[2].Runtime.Store.S3 == nil {
		t.Errorf("%d errands, %v", len(p.sent), err)
	}
	if _, err := p.execute([]string{"gc"}); err == nil || !strings.Contains(err.Error(), "--runtime") {
		t.Errorf("a namespace without objects: %v", err)
	}
}
