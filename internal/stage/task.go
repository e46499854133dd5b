package stage

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"maps"
	"path"
	"strconv"
	"sync"
	"time"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
)

// Task is what a Func works on. Its methods may be called concurrently.
type Task struct {
	// Spec is validated: the block of its stage is set, keys and digests are well-formed.
	Spec       *contract.Spec
	SpecDigest string
	Store      *artifact.Store
	Log        *slog.Logger
	Progress   *Progress
	// Attempt of the stage, from 0; Shard of Shards.
	Attempt, Shard, Shards int
	// Nodes is how many pods train together, each running the same Func, and Rank is this pod's place among them; that of rank
	// 0 listens at Master, a host and port, and alone writes. 1, 0 and empty of all other stages.
	Nodes, Rank int
	Master      string
	// Heartbeat is how long a stage may make no step.
	Heartbeat time.Duration
	// PodUID makes the keys of what this pod writes its own.
	PodUID string
	// Version of the program, and the image that it came in, if it was told.
	Version, Image string

	mu       sync.Mutex
	manifest contract.Manifest
}

// OutputKey is where this pod puts the file of a name.
func (t *Task) OutputKey(name string) string {
	return path.Join(artifact.ManifestDir(t.Spec.Output, t.Attempt, t.PodUID, t.Shard), name)
}

// Mine reports whether the item at a position of the index belongs to this shard.
func (t *Task) Mine(position int) bool { return contract.Shard(position, t.Shards) == t.Shard }

// Read reads an input of at most limit bytes, checks its digest and records it in the manifest.
func (t *Task) Read(ctx context.Context, a contract.Artifact, limit int64) ([]byte, error) {
	data, err := t.Store.ReadVerified(ctx, a, limit)
	if err != nil {
		return nil, err
	}
	if a.Digest == "" {
		a.Digest = contract.Digest(data)
	}
	t.Input(a)
	return data, nil
}

// Input records in the manifest that an artifact was read.
func (t *Task) Input(a contract.Artifact) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.manifest.Inputs[a.Key] = a.Digest
}

// Write stores a file under OutputKey(name) and lists it in the manifest.
func (t *Task) Write(ctx context.Context, name string, data []byte) (contract.Artifact, error) {
	return t.WriteFrom(ctx, name, bytes.NewReader(data))
}

// WriteFrom stores what r yields under OutputKey(name) and lists it in the manifest.
func (t *Task) WriteFrom(ctx context.Context, name string, r io.Reader) (contract.Artifact, error) {
	f, err := t.Store.Write(ctx, t.OutputKey(name), r)
	if err != nil {
		return contract.Artifact{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.manifest.Files = append(t.manifest.Files, f)
	return contract.Artifact{Key: f.Key, Digest: f.Digest}, nil
}

// Output names a file that was written with Write as one of the stage's results.
func (t *Task) Output(name string, a contract.Artifact) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.manifest.Outputs[name] = a
}

// Count sets a count of the manifest and the termination message.
func (t *Task) Count(name string, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.manifest.Counts[name] = n
}

// Counts sets several counts.
func (t *Task) Counts(counts map[string]int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.Copy(t.manifest.Counts, counts)
}

// Metric sets a decimal of the manifest and the termination message, with six digits, and shows it in
// progress too. The value must be finite.
func (t *Task) Metric(name string, value float64) {
	t.Progress.Metric(name, value)
	t.Metrics(map[string]string{name: decimal(value)})
}

// Metrics sets several metrics that are decimals already.
func (t *Task) Metrics(decimals map[string]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.Copy(t.manifest.Metrics, decimals)
}

// Devices tells the GPU models that made something, in the manifest and the termination message; none is nothing to tell.
func (t *Task) Devices(name string, models []string) {
	if len(models) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.manifest.Devices == nil {
		t.manifest.Devices = map[string][]string{}
	}
	t.manifest.Devices[name] = models
}

// decimal has six digits: more would only show rounding errors.
func decimal(value float64) string { return strconv.FormatFloat(value, 'g', 6, 64) }

func (t *Task) newManifest() {
	t.manifest = contract.Manifest{
		ContractVersion: contract.Version,
		Stage:           t.Spec.Stage,
		SpecDigest:      t.SpecDigest,
		Attempt:         t.Attempt,
		PodUID:          t.PodUID,
		Shard:           t.Shard,
		Shards:          t.Shards,
		Inputs:          map[string]string{},
		Outputs:         map[string]contract.Artifact{},
		Counts:          map[string]int64{},
		Metrics:         map[string]string{},
		Files:           []contract.File{},
	}
}

// commit writes the manifest and gives the termination message of success.
func (t *Task) commit(ctx context.Context) (*contract.Termination, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, err := t.Store.CommitManifest(ctx, t.Spec.Output, &t.manifest)
	if err != nil {
		return nil, err
	}
	return success(artifact.Done{Artifact: a, Manifest: &t.manifest}), nil
}

// adopt looks for what an earlier attempt of the same spec finished; nil when there is none.
func (t *Task) adopt(ctx context.Context) (*contract.Termination, error) {
	done, err := t.Store.FindManifest(ctx, t.Spec.Output, t.manifest, func(key string, err error) {
		t.Log.Warn("manifest of an earlier attempt is not good enough to adopt", "manifest", key, "error", err.Error())
	})
	if err != nil || done == nil {
		return nil, err
	}
	if t.Rank > 0 {
		return follower(), nil
	}
	t.Log.Info("adopted the result of an earlier attempt", "manifest", done.Artifact.Key)
	termination := success(*done)
	termination.Counts["adopted"] = 1
	return termination, nil
}

// follower is the termination message of a pod that has helped another to its manifest.
func follower() *contract.Termination { return &contract.Termination{Class: contract.ExitDone.Class()} }

func success(done artifact.Done) *contract.Termination {
	counts := maps.Clone(done.Manifest.Counts)
	if counts == nil {
		counts = map[string]int64{}
	}
	return &contract.Termination{
		Class:    contract.ExitDone.Class(),
		Manifest: &done.Artifact,
		Outputs:  done.Manifest.Outputs,
		Counts:   counts,
		Metrics:  done.Manifest.Metrics,
		Devices:  done.Manifest.Devices,
	}
}
