package stage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/stage"
)

// call is one run of a stage program with one stage, pair, over a folder.
type call struct {
	store string // directory
	spec  *contract.Spec
	work  stage.Func
	// args and env change what spec and store give.
	args func(args []string) []string
	env  map[string]string
	ctx  context.Context
}

// ended is how it ended.
type ended struct {
	code        contract.ExitCode
	termination *contract.Termination
	log         string
}

func run(t *testing.T, c call) ended {
	t.Helper()
	dir := t.TempDir()
	data, digest := c.spec.Encode()
	specFile, log := filepath.Join(dir, "spec.json"), filepath.Join(dir, "termination-log")
	for file, content := range map[string][]byte{specFile: data, log: nil} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{string(c.spec.Stage), contract.FlagSpec, specFile, contract.FlagSpecDigest, digest}
	if c.args != nil {
		args = c.args(args)
	}
	env := map[string]string{
		contract.EnvStore: "file://" + c.store, contract.EnvPodUID: "uid-a", stage.EnvProgressAddress: "127.0.0.1:0",
	}
	for name, value := range c.env {
		env[name] = value
	}
	ctx := c.ctx
	if ctx == nil {
		ctx = t.Context()
	}
	var stderr bytes.Buffer
	code := stage.Run(ctx, args, map[contract.Stage]stage.Func{contract.Pair: c.work}, stage.Deps{
		Getenv: func(name string) string { return env[name] },
		Stdout: io.Discard, Stderr: &stderr, TerminationPath: log, Now: time.Now,
	})
	message, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	termination, err := contract.ParseTermination(message)
	if err != nil {
		t.Fatalf("termination message %q: %v", message, err)
	}
	if termination.Class != code.Class() || (termination.Manifest != nil) != (code == contract.ExitDone) {
		t.Errorf("exit code %d and termination %+v do not agree", code, termination)
	}
	return ended{code: code, termination: termination, log: stderr.String()}
}

// pairSpec imports the pairs that stand in the store.
func pairSpec(t *testing.T, store, pairs string) *contract.Spec {
	t.Helper()
	if err := os.WriteFile(filepath.Join(store, "in.jsonl"), []byte(pairs), 0o600); err != nil {
		t.Fatal(err)
	}
	return &contract.Spec{
		ContractVersion: contract.Version, Stage: contract.Pair, Output: "runs/r/1/pair",
		Pair: &contract.PairSpec{Import: &contract.Artifact{Key: "in.jsonl", Digest: contract.Digest([]byte(pairs))}},
	}
}

// copies is a stage that copies its input, in two files.
func copies(ctx context.Context, t *stage.Task) error {
	data, err := t.Read(ctx, *t.Spec.Pair.Import, 1000)
	if err != nil {
		return err
	}
	t.Progress.Total(2, "files")
	for _, name := range []string{"pairs.jsonl", "copy.jsonl"} {
		a, err := t.Write(ctx, name, data)
		if err != nil {
			return err
		}
		t.Output(strings.TrimSuffix(name, ".jsonl"), a)
		t.Progress.Add(1)
	}
	t.Count("pairs", int64(len(data)))
	t.Metric("share", 1.0/3)
	return nil
}

func TestRun(t *testing.T) {
	store := t.TempDir()
	spec := pairSpec(t, store, "three")
	_, specDigest := spec.Encode()
	got := run(t, call{store: store, spec: spec, work: copies, env: map[string]string{
		contract.EnvAttempt: "2", contract.EnvShard: "1", contract.EnvShards: "3",
	}})
	if got.code != contract.ExitDone {
		t.Fatalf("exit code %d: %s", got.code, got.termination.Message)
	}
	dir := "runs/r/1/pair/2-uid-a/1/"
	digest := contract.Digest([]byte("three"))
	outputs := map[string]contract.Artifact{
		"pairs": {Key: dir + "pairs.jsonl", Digest: digest},
		"copy":  {Key: dir + "copy.jsonl", Digest: digest},
	}
	want := &contract.Termination{
		Class: "Succeeded", Manifest: got.termination.Manifest, Outputs: outputs,
		Counts: map[string]int64{"pairs": 5}, Metrics: map[string]string{"share": "0.333333"},
	}
	if diff := cmp.Diff(want, got.termination); diff != "" {
		t.Errorf("termination (-want +got):\n%s", diff)
	}
	s := open(t, store)
	m, err := s.ReadManifest(t.Context(), *got.termination.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&contract.Manifest{
		ContractVersion: "v1", Stage: contract.Pair, SpecDigest: specDigest, Attempt: 2, PodUID: "uid-a", Shard: 1, Shards: 3,
		Inputs: map[string]string{"in.jsonl": digest}, Outputs: outputs, Counts: want.Counts, Metrics: want.Metrics,
		Files: []contract.File{
			{Key: dir + "pairs.jsonl", Size: 5, Digest: digest}, {Key: dir + "copy.jsonl", Size: 5, Digest: digest},
		},
	}, m); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
	if got.termination.Manifest.Key != dir+"manifest.json" {
		t.Errorf("manifest is at %s", got.termination.Manifest.Key)
	}
}

// TestCall: a wrong call is exit code 64 and names what is wrong.
func TestCall(t *testing.T) {
	add := func(more ...string) func([]string) []string {
		return func(args []string) []string { return append(args, more...) }
	}
	for name, c := range map[string]struct {
		args func([]string) []string
		env  map[string]string
		want string
	}{
		"no arguments":         {args: func([]string) []string { return nil }, want: "no stage is named"},
		"another stage":        {args: func(a []string) []string { return append([]string{"train"}, a[1:]...) }, want: `"train" is not one of this program's`},
		"no spec":              {args: func(a []string) []string { return []string{a[0], a[3], a[4]} }, want: "usage: pair --spec <file> --spec-digest"},
		"no digest":            {args: func(a []string) []string { return a[:3] }, want: "usage"},
		"an unknown flag":      {args: add("--fast"), want: "fast"},
		"an argument too many": {args: add("more"), want: "more"},
		"a malformed digest":   {args: func(a []string) []string { return append(a[:4], "sha256:0") }, want: "sha256:0"},
		"another digest":       {args: func(a []string) []string { return append(a[:4], contract.Digest(nil)) }, want: "has digest"},
		"no such spec":         {args: func(a []string) []string { return []string{a[0], a[1], "/nowhere", a[3], a[4]} }, want: "/nowhere"},
		"no store":             {env: map[string]string{contract.EnvStore: ""}, want: contract.EnvStore},
		"a store of no kind":   {env: map[string]string{contract.EnvStore: "ftp://x"}, want: "scheme"},
		"no pod":               {env: map[string]string{contract.EnvPodUID: ""}, want: contract.EnvPodUID},
		"a pod with a path":    {env: map[string]string{contract.EnvPodUID: "../x"}, want: contract.EnvPodUID},
		"a negative attempt":   {env: map[string]string{contract.EnvAttempt: "-1"}, want: contract.EnvAttempt},
		"no shards":            {env: map[string]string{contract.EnvShards: "0"}, want: contract.EnvShards},
		"a shard too many":     {env: map[string]string{contract.EnvShard: "2", contract.EnvShards: "2"}, want: contract.EnvShard},
		"a heartbeat of words": {env: map[string]string{stage.EnvHeartbeat: "soon"}, want: stage.EnvHeartbeat},
	} {
		t.Run(name, func(t *testing.T) {
			store := t.TempDir()
			got := run(t, call{store: store, spec: pairSpec(t, store, "x"), work: copies, args: c.args, env: c.env})
			if got.code != contract.ExitBadSpec || !strings.Contains(got.termination.Message, c.want) {
				t.Errorf("exit code %d, %q; want 64 and %q", got.code, got.termination.Message, c.want)
			}
		})
	}
}

// TestExitCodes: what a Func returns decides the exit code.
func TestExitCodes(t *testing.T) {
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	read := func(a contract.Artifact) stage.Func {
		return func(ctx context.Context, t *stage.Task) error {
			_, err := t.Read(ctx, a, 100)
			return err
		}
	}
	returns := func(err error) stage.Func { return func(context.Context, *stage.Task) error { return err } }
	for name, c := range map[string]struct {
		work stage.Func
		ctx  context.Context
		want contract.ExitCode
	}{
		"an input is missing":             {work: read(contract.Artifact{Key: "nowhere"}), want: contract.ExitBadInput},
		"an input has another digest":     {work: read(contract.Artifact{Key: "in.jsonl", Digest: contract.Digest(nil)}), want: contract.ExitBadInput},
		"a foreign adapter":               {work: returns(stage.Errorf(contract.ExitMismatch, "rank 8, want 16")), want: contract.ExitMismatch},
		"divergence, wrapped":             {work: returns(fmt.Errorf("step 7: %w", stage.Errorf(contract.ExitDiverged, "loss is NaN"))), want: contract.ExitDiverged},
		"a storage error":                 {work: returns(&artifact.Error{Op: "write", Key: "k", Err: errors.New("disk full")}), want: contract.ExitStorage},
		"the outermost class decides":     {work: returns(stage.Errorf(contract.ExitMismatch, "adapter: %w", &artifact.Error{Kind: artifact.Missing})), want: contract.ExitMismatch},
		"an error that nobody classified": {work: returns(errors.New("index out of range")), want: contract.ExitBug},
		"a panic":                         {work: func(context.Context, *stage.Task) error { panic("boom") }, want: contract.ExitBug},
		"an output that is not a file": {work: func(_ context.Context, t *stage.Task) error {
			t.Output("pairs", contract.Artifact{Key: "in.jsonl"})
			return nil
		}, want: contract.ExitBug},
		"SIGTERM, progress saved": {work: returns(fmt.Errorf("after step 3: %w", stage.ErrInterrupted)), ctx: interrupted, want: contract.ExitCheckpointed},
		"SIGTERM, nothing saved":  {work: func(ctx context.Context, _ *stage.Task) error { return ctx.Err() }, ctx: interrupted, want: contract.ExitSIGTERM},
		"SIGTERM during a read":   {work: read(contract.Artifact{Key: "in.jsonl"}), ctx: interrupted, want: contract.ExitSIGTERM},
	} {
		t.Run(name, func(t *testing.T) {
			store := t.TempDir()
			got := run(t, call{store: store, spec: pairSpec(t, store, "x"), work: c.work, ctx: c.ctx})
			if got.code != c.want {
				t.Errorf("exit code %d (%q), want %d", got.code, got.termination.Message, c.want)
			}
			if c.want != contract.ExitDone && got.termination.Message == "" {
				t.Error("the termination message does not say why")
			}
		})
	}
	t.Run("SIGTERM when all was done", func(t *testing.T) {
		store := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		got := run(t, call{store: store, spec: pairSpec(t, store, "x"), ctx: ctx, work: func(context.Context, *stage.Task) error {
			cancel()
			return nil
		}})
		if got.code != contract.ExitDone {
			t.Errorf("exit code %d (%q), want the work to count", got.code, got.termination.Message)
		}
	})
	t.Run("the stack of a panic is in the log", func(t *testing.T) {
		store := t.TempDir()
		got := run(t, call{store: store, spec: pairSpec(t, store, "x"), work: func(context.Context, *stage.Task) error { panic("boom") }})
		if !strings.Contains(got.log, "run_test.go") || !strings.Contains(got.termination.Message, "boom") {
			t.Errorf("log: %s\nmessage: %s", got.log, got.termination.Message)
		}
	})
}

// TestAdoption: another attempt adopts what an earlier one finished, and works when it cannot.
func TestAdoption(t *testing.T) {
	store := t.TempDir()
	spec := pairSpec(t, store, "three")
	first := run(t, call{store: store, spec: spec, work: func(ctx context.Context, t *stage.Task) error {
		t.Devices("best", []string{"A100"})
		t.Devices("candidate", nil)
		return copies(ctx, t)
	}})
	if diff := cmp.Diff(map[string][]string{"best": {"A100"}}, first.termination.Devices); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}
	again := call{store: store, spec: spec, env: map[string]string{contract.EnvAttempt: "1", contract.EnvPodUID: "uid-b"}}

	again.work = func(context.Context, *stage.Task) error { return errors.New("worked again") }
	adopted := run(t, again)
	want := *first.termination
	want.Counts = map[string]int64{"pairs": 5, "adopted": 1}
	if diff := cmp.Diff(&want, adopted.termination); diff != "" {
		t.Errorf("adopted (-want +got):\n%s", diff)
	}

	damaged := filepath.Join(store, filepath.FromSlash(first.termination.Outputs["copy"].Key))
	if err := os.WriteFile(damaged, []byte("thre"), 0o600); err != nil {
		t.Fatal(err)
	}
	again.work = copies
	redone := run(t, again)
	if redone.code != contract.ExitDone || redone.termination.Manifest.Key != "runs/r/1/pair/1-uid-b/0/manifest.json" {
		t.Errorf("after damage: %d, %+v", redone.code, redone.termination)
	}
	if !strings.Contains(redone.log, "truncated or was changed") {
		t.Errorf("the log does not say why nothing was adopted:\n%s", redone.log)
	}
}

// TestKilledAtEveryWrite: a worker dies after any of its writes, or half-way through one; the next
// attempt ends like an undisturbed run, and adopts only what was complete.
func TestKilledAtEveryWrite(t *testing.T) {
	whole := t.TempDir()
	spec := pairSpec(t, whole, "three")
	undisturbed := run(t, call{store: whole, spec: spec, work: copies})
	var writes []string // in the order in which the stage makes them
	for _, name := range []string{"pairs.jsonl", "copy.jsonl", "manifest.json.sha256", "manifest.json"} {
		writes = append(writes, "runs/r/1/pair/0-uid-a/0/"+name)
	}
	if keys, err := open(t, whole).List(t.Context(), spec.Output+"/"); err != nil || len(keys) != len(writes) {
		t.Fatalf("the stage wrote %q, %v", keys, err)
	}
	for n := 0; n <= len(writes); n++ {
		for _, torn := range []bool{false, true} {
			store := t.TempDir()
			pairSpec(t, store, "three")
			for i, key := range writes[:n] {
				data, err := os.ReadFile(filepath.Join(whole, key))
				if err != nil {
					t.Fatal(err)
				}
				if torn && i == n-1 {
					data = data[:len(data)/2]
				}
				if _, err := open(t, store).Write(t.Context(), key, bytes.NewReader(data)); err != nil {
					t.Fatal(err)
				}
			}
			got := run(t, call{store: store, spec: spec, work: copies, env: map[string]string{contract.EnvAttempt: "1", contract.EnvPodUID: "uid-b"}})
			complete := n == len(writes) && !torn
			if got.code != contract.ExitDone || (got.termination.Counts["adopted"] == 1) != complete {
				t.Errorf("killed after %d writes (torn: %v): exit code %d, %+v", n, torn, got.code, got.termination)
			}
			for name, a := range undisturbed.termination.Outputs {
				if got.termination.Outputs[name].Digest != a.Digest {
					t.Errorf("killed after %d writes (torn: %v): output %s has digest %s, want %s", n, torn, name, got.termination.Outputs[name].Digest, a.Digest)
				}
			}
		}
	}
}

// TestByHand: without the kubelet's file the termination message goes to standard output, and a port
// that is taken costs the progress only.
func TestByHand(t *testing.T) {
	store := t.TempDir()
	spec := pairSpec(t, store, "x")
	data, digest := spec.Encode()
	specFile := filepath.Join(t.TempDir(), "spec.json")
	if err := os.WriteFile(specFile, data, 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	env := map[string]string{contract.EnvStore: "file://" + store, contract.EnvPodUID: "me", stage.EnvProgressAddress: taken.Addr().String()}
	var stdout, stderr bytes.Buffer
	code := stage.Run(t.Context(), []string{"pair", "--spec", specFile, "--spec-digest", digest}, map[contract.Stage]stage.Func{contract.Pair: copies}, stage.Deps{
		Getenv: func(name string) string { return env[name] }, Stdout: &stdout, Stderr: &stderr,
		TerminationPath: filepath.Join(t.TempDir(), "absent"), Now: time.Now,
	})
	var termination contract.Termination
	if err := json.Unmarshal(stdout.Bytes(), &termination); err != nil || code != contract.ExitDone || termination.Manifest == nil {
		t.Errorf("exit code %d, standard output %q, %v", code, &stdout, err)
	}
	if !strings.Contains(stderr.String(), "no progress will be served") {
		t.Errorf("log: %s", &stderr)
	}
}

func open(t testing.TB, dir string) *artifact.Store {
	t.Helper()
	s, err := artifact.Open(t.Context(), "file://"+dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}
