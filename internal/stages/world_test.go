package stages_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/artifact/storetest"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/stage"
	"github.com/spatialalign/operator/internal/stages"
)

// world is a store in which stages run one after the other.
type world struct {
	*testing.T
	dir   string // of a folder store
	url   string
	store *artifact.Store
	steps atomic.Int64 // looks at the clock: every heartbeat is one
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	url := "file://" + dir
	store, err := artifact.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return &world{T: t, dir: dir, url: url, store: store}
}

// run runs the spec's stage as a pod would.
func (w *world) run(spec contract.Spec) (contract.ExitCode, *contract.Termination) {
	w.Helper()
	spec.ContractVersion, spec.Output = contract.Version, "out/"+string(spec.Stage)
	data, digest := spec.Encode()
	scratch := w.TempDir()
	specFile, last := filepath.Join(scratch, "spec.json"), filepath.Join(scratch, "termination-log")
	for file, content := range map[string][]byte{specFile: data, last: nil} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			w.Fatal(err)
		}
	}
	env := map[string]string{
		contract.EnvStore: w.url, contract.EnvPodUID: "uid-" + strings.TrimPrefix(digest, "sha256:")[:8],
		stage.EnvProgressAddress: "127.0.0.1:0",
	}
	code := stage.Run(w.Context(), []string{string(spec.Stage), contract.FlagSpec, specFile, contract.FlagSpecDigest, digest}, stages.All(), stage.Deps{
		Getenv: func(name string) string { return env[name] }, Stdout: io.Discard, Stderr: io.Discard,
		TerminationPath: last, Now: func() time.Time { w.steps.Add(1); return time.Now() },
	})
	message, err := os.ReadFile(last)
	if err != nil {
		w.Fatal(err)
	}
	termination, err := contract.ParseTermination(message)
	if err != nil {
		w.Fatalf("%s: %v", message, err)
	}
	return code, termination
}

// done runs a stage that must succeed.
func (w *world) done(spec contract.Spec) *contract.Termination {
	w.Helper()
	code, termination := w.run(spec)
	if code != contract.ExitDone {
		w.Fatalf("%s: exit code %d: %s", spec.Stage, code, termination.Message)
	}
	return termination
}

// fails runs a stage that must fail, saying all of want.
func (w *world) fails(spec contract.Spec, code contract.ExitCode, want ...string) {
	w.Helper()
	got, termination := w.run(spec)
	if got != code {
		w.Errorf("%s: exit code %d (%s), want %d", spec.Stage, got, termination.Message, code)
	}
	for _, text := range want {
		if !strings.Contains(termination.Message, text) {
			w.Errorf("%s: message %q does not say %q", spec.Stage, termination.Message, text)
		}
	}
}

// put stores a file.
func (w *world) put(key string, data []byte) contract.Artifact {
	w.Helper()
	return storetest.Put(w, w.store, key, string(data))
}

// read reads an output.
func (w *world) read(a contract.Artifact) []byte {
	w.Helper()
	data, err := w.store.ReadVerified(w.Context(), a, 1<<30)
	if err != nil {
		w.Fatal(err)
	}
	return data
}

// lines reads JSONL.
func lines[T any](w *world, a contract.Artifact) []T {
	w.Helper()
	var all []T
	decoder := json.NewDecoder(bytes.NewReader(w.read(a)))
	for decoder.More() {
		var line T
		if err := decoder.Decode(&line); err != nil {
			w.Fatal(err)
		}
		all = append(all, line)
	}
	return all
}
