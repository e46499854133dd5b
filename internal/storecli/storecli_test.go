package storecli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/artifact/storetest"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/lineage"
)

// world is a store and a folder with what kubectl get printed.
type world struct {
	*testing.T
	dir   string
	store *artifact.Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	t.Setenv(contract.EnvStore, "file://"+dir+"/store")
	store, err := artifact.Open(t.Context(), "file://"+dir+"/store")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return &world{t, dir, store}
}

func (w *world) put(key, data string) contract.Artifact {
	w.Helper()
	return storetest.Put(w, w.store, key, data)
}

// file puts a file beside the store.
func (w *world) file(name, data string) string {
	w.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		w.Fatal(err)
	}
	return path
}

func (w *world) execute(args ...string) (string, error) {
	w.Helper()
	root := &cobra.Command{SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(Commands()...)
	root.SetArgs(args)
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&bytes.Buffer{})
	err := root.ExecuteContext(w.Context())
	return out.String(), err
}

// run is a run as kubectl get prints it, with a lineage of one record.
func (w *world) run() (file string, record contract.Artifact) {
	w.Helper()
	adapter := w.put("runs/uid-1/adapter.safetensors", "weights")
	data, err := lineage.Encode(&contract.LineageRecord{
		ContractVersion: contract.Version, Namespace: "team-a", Run: "first-run", Iteration: 1, Accepted: true, Reason: "better",
		Spec: json.RawMessage("{}"), Runtime: json.RawMessage("{}"), Artifacts: map[string]contract.Artifact{"adapter": adapter},
		Images: map[string]string{"Train": "runtime@sha256:aa"}, Results: map[string]string{"accuracy": "0.7"},
	})
	if err != nil {
		w.Fatal(err)
	}
	record = w.put("runs/uid-1/lineage.json", string(data))
	return w.file("run.yaml", fmt.Sprintf(`
apiVersion: alignment.spatialalign.dev/v1alpha1
kind: AlignmentRun
metadata: {name: first-run, uid: uid-1}
status:
  runtime: {spec: {model: {name: m}}}
  iterations:
  - {iteration: 1, lineage: {key: %s, digest: "%s"}}
`, record.Key, record.Digest)), record
}

func TestLineageCommand(t *testing.T) {
	w := newWorld(t)
	run, record := w.run()
	for _, args := range [][]string{{"--run", run}, {"--from", record.Key + "@" + record.Digest}} {
		out, err := w.execute(append([]string{"lineage"}, args...)...)
		for _, want := range []string{"team-a/first-run, iteration 1, accepted: better\n", "adapter          sha256:9a129038d9a0  runs/uid-1/adapter.safetensors\n", "image of Train   runtime@sha256:aa", "accuracy         0.7"} {
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("%q: %v, printed\n%swant %q", args, err, out, want)
			}
		}
	}
	if out, err := w.execute("lineage", "--run", run, "-o", "json"); err != nil || !json.Valid([]byte(out)) {
		t.Errorf("%v, printed\n%s", err, out)
	}
}

func TestVerifyCommand(t *testing.T) {
	w := newWorld(t)
	run, _ := w.run()
	if out, err := w.execute("verify", "--run", run); err != nil || out != "KIND      CHECKED   DEFECTS\nadapter   1         0\nlineage   1         0\n" {
		t.Errorf("%v, printed\n%s", err, out)
	}
	w.put("runs/uid-1/adapter.safetensors", "others!")
	if out, err := w.execute("verify", "--run", run); err == nil || !strings.Contains(out, "adapter runs/uid-1/adapter.safetensors: its digest is") {
		t.Errorf("%v, printed\n%s", err, out)
	}
}

func TestGCCommand(t *testing.T) {
	w := newWorld(t)
	run, _ := w.run()
	w.put("runs/uid-2/adapter.safetensors", strings.Repeat("w", 1536))
	data, err := os.ReadFile(run)
	if err != nil {
		t.Fatal(err)
	}
	objects := w.file("objects.yaml", "apiVersion: v1\nkind: List\nitems:\n- "+strings.ReplaceAll(strings.TrimSpace(string(data)), "\n", "\n  ")+
		"\n- {apiVersion: alignment.spatialalign.dev/v1alpha1, kind: ScoringBatch, metadata: {name: b, uid: uid-3}}"+
		"\n- {apiVersion: alignment.spatialalign.dev/v1alpha1, kind: PreferenceDataset, metadata: {name: d, uid: uid-4}}\n")
	out, err := w.execute("gc", "--objects", objects, "--min-age", "0s")
	if want := "run files          2        0           1         1.5 KiB\n"; err != nil || !strings.Contains(out, want) || !strings.HasSuffix(out, "Nothing was deleted; --delete does.\n") {
		t.Errorf("%v, printed\n%s", err, out)
	}
	if out, err := w.execute("gc", "--objects", objects, "--min-age", "0s", "--delete", "-o", "json"); err != nil || !strings.Contains(out, `"deleted": true`) {
		t.Errorf("%v, printed\n%s", err, out)
	}
	if keys, err := w.store.List(t.Context(), ""); err != nil || len(keys) != 2 {
		t.Errorf("left: %q, %v", keys, err)
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	run, _ := w.run()
	list := func(items string) string {
		return w.file("list.yaml", "apiVersion: v1\nkind: List\nitems:\n"+items)
	}
	for want, args := range map[string][]string{
		"want KEY@sha256:...":             {"lineage", "--from", "x"},
		"the run has no lineage yet":      {"lineage", "--run", w.file("new.yaml", "kind: AlignmentRun\nmetadata: {uid: u}\n")},
		`this is "Pod"`:                   {"verify", "--run", w.file("pod.yaml", "kind: Pod\n")},
		"the only other format is json":   {"verify", "--run", run, "-o", "yaml"},
		"scheme must be file or s3":       {"verify", "--run", run, "--store", "ftp://x"},
		`want a List of all objects`:      {"gc", "--objects", run},
		"is not an AlignmentRun, Scoring": {"gc", "--objects", list("- {apiVersion: v1, kind: Pod}\n")},
		"--min-age -1s: an age":           {"gc", "--objects", w.file("none.yaml", "kind: List\nitems: []\n"), "--min-age=-1s"},
		"--min-age -500ms: an age":        {"gc", "--objects", w.file("none.yaml", "kind: List\nitems: []\n"), "--min-age=-500ms"},
		"the run was not accepted yet":    {"verify", "--run", w.file("pending.yaml", "kind: AlignmentRun\nmetadata: {uid: u}\n")},
	} {
		if _, err := w.execute(args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", args, err, want)
		}
	}
	nameless := list("- {apiVersion: alignment.spatialalign.dev/v1alpha1, kind: ScoringBatch, metadata: {name: b}}\n")
	if _, err := w.execute("gc", "--objects", nameless); err == nil || !strings.Contains(err.Error(), "items[0]: ScoringBatch b has no uid") {
		t.Errorf("an object without a uid: %v", err)
	}
	t.Setenv(contract.EnvStore, "")
	if _, err := w.execute("verify", "--run", run); err == nil || !strings.Contains(err.Error(), "no store") {
		t.Errorf("without a store: %v", err)
	}
}

// TestNoStore: a mistyped root is not made, nor taken for an empty one.
func TestNoStore(t *testing.T) {
	w := newWorld(t)
	run, record := w.run()
	root := filepath.Join(w.dir, "none")
	for _, args := range [][]string{
		{"verify", "--run", run}, {"lineage", "--from", record.Key + "@" + record.Digest},
		{"gc", "--objects", w.file("objects.yaml", "kind: List\nitems: []\n")},
	} {
		if out, err := w.execute(append(args, "--store", "file://"+root)...); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), root) || out != "" {
			t.Errorf("%s: %v, printed\n%s", args[0], err, out)
		}
		if _, err := os.Stat(root); err == nil {
			t.Fatalf("%s made the store", args[0])
		}
	}
}

func TestMinAge(t *testing.T) {
	for age, want := range map[time.Duration]int64{0: 0, time.Nanosecond: 1, 1500 * time.Millisecond: 2, DefaultMinAge: 7 * 24 * 3600} {
		if got, err := MinAgeSeconds(age); err != nil || got != want {
			t.Errorf("%v are %d s, %v; want %d", age, got, err, want)
		}
	}
	if _, err := MinAgeSeconds(-time.Nanosecond); err == nil {
		t.Error("a negative age")
	}
}

func TestSize(t *testing.T) {
	for bytes, want := range map[int64]string{0: "0 B", 17: "17 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 5 << 20: "5 MiB", 3 << 40: "3 TiB", 3 << 50: "3072 TiB"} {
		if got := size(bytes); got != want {
			t.Errorf("%d bytes are %s, want %s", bytes, got, want)
		}
	}
}
