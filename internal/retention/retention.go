// Package retention finds, and deletes, what lies in a store and no living object refers to.
//
// Roots are what the runs, batches and data sets of a namespace are and name. Mark follows them through
// the store: indexes, scores and pairs to samples, samples and prompts to tracks, lineage records to what
// they name. Sweep lists what is neither marked nor younger than a minimum age. Only places that stages
// write to are looked at (runs/, samples/, tracks/): what users put elsewhere is theirs.
package retention

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
)

// Roots are what must stay.
type Roots struct {
	// UIDs of all objects that live: what lies below runs/<uid>/ is theirs.
	UIDs []string `json:"uids"`
	// Artifacts that they name, wherever those lie.
	Artifacts []contract.Artifact `json:"artifacts,omitempty"`
	// Detectors of their runtimes: tracks are kept per detector.
	Detectors []contract.Detector `json:"detectors,omitempty"`
}

// Question says what to do.
type Question struct {
	Roots Roots `json:"roots"`
	// MinAgeSeconds spares what was written more recently, by the store's clock.
	MinAgeSeconds int64 `json:"minAgeSeconds"`
	// Delete what is found; otherwise it is only counted.
	Delete bool `json:"delete"`
}

// Kinds of garbage.
const (
	// KindRun is what stages of deleted runs, batches and data sets wrote.
	KindRun = "run files"
	// KindSample is a sample that no living object asks for: sidecar, video, latent.
	KindSample = "samples"
	// KindLeftover is a file that a sample's sidecar does not name: of a pod that lost a race or was interrupted.
	KindLeftover = "sample leftovers"
	// KindTrack is the kept tracks of a video that no living object needs.
	KindTrack = "tracks"
)

// Kind sums up what was found of a kind.
type Kind struct {
	Kind string `json:"kind"`
	// Kept are spared because something refers to them, Young because of their age, Garbage are the rest.
	Kept    Total `json:"kept"`
	Young   Total `json:"young"`
	Garbage Total `json:"garbage"`
}

// Total of files.
type Total struct {
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
}

func (t *Total) add(o artifact.Object) {
	t.Files++
	t.Bytes += o.Size
}

// Result of a collection.
type Result struct {
	Kinds []Kind `json:"kinds"`
	// Deleted says whether the garbage is gone.
	Deleted bool `json:"deleted"`
	// Gone are artifacts that a living object names and that are not there.
	Gone []string `json:"gone,omitempty"`
}

// workers read or delete files at once.
const workers = 32

// Run marks, sweeps and, when asked to, deletes. When any root cannot be read it is an error, and nothing
// is deleted.
func Run(ctx context.Context, store *artifact.Store, q Question, now time.Time, say func(format string, args ...any)) (*Result, error) {
	if q.MinAgeSeconds < 0 {
		return nil, fmt.Errorf("the minimum age is %d s, want at least 0", q.MinAgeSeconds)
	}
	before := now.Add(-time.Duration(q.MinAgeSeconds) * time.Second)
	say("looking for what is in use")
	marks, err := mark(ctx, store, q.Roots, before)
	if err != nil {
		return nil, fmt.Errorf("a root could not be read, so nothing is known to be garbage: %w", err)
	}
	say("%d samples are in use; looking for the rest", len(marks.samples))
	s := &sweep{store: store, marks: marks, before: before}
	if err := s.run(ctx); err != nil {
		return nil, err
	}
	result := &Result{Kinds: s.kinds(), Gone: marks.gone}
	if !q.Delete {
		return result, nil
	}
	// Objects may have come, and stages may have written indexes, since the marks were made.
	again, err := mark(ctx, store, q.Roots, before)
	if err != nil {
		return nil, fmt.Errorf("a root could not be read, so nothing was deleted: %w", err)
	}
	if err := s.delete(ctx, again, say); err != nil {
		return nil, err
	}
	result.Kinds, result.Deleted = s.kinds(), true
	return result, nil
}

// delete the garbage that is still garbage. A sample's sidecar goes before its files, so that none is
// left that names what is gone.
func (s *sweep) delete(ctx context.Context, again *marks, say func(format string, args ...any)) error {
	total, done := 0, atomic.Int64{}
	for _, batch := range s.garbage {
		total += len(batch.files)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for i := range s.garbage {
		batch := &s.garbage[i]
		if again.needs(batch) {
			batch.spared = true
			continue
		}
		group.Go(func() error {
			for _, o := range batch.files {
				if err := s.store.Delete(ctx, o.Key); err != nil {
					return err
				}
				if n := done.Add(1); n%1000 == 0 {
					say("%d of %d files deleted", n, total)
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// Answer is the errand "gc": the question is a Question, the answer a Result.
func Answer(ctx context.Context, store *artifact.Store, question []byte, say func(string, ...any)) ([]byte, error) {
	var q Question
	if err := artifact.DecodeStrict(question, &q); err != nil {
		return nil, fmt.Errorf("question: %w", err)
	}
	result, err := Run(ctx, store, q, time.Now(), say)
	if err != nil {
		return nil, err
	}
	return json.Marshal(result)
}

// tolerateGone notes a root that is not there: nothing can be reached from it. Any other error stays one.
func (m *marks) tolerateGone(key string, err error) error {
	var e *artifact.Error
	if errors.As(err, &e) && e.Kind == artifact.Missing {
		if !slices.Contains(m.gone, key) {
			m.gone = append(m.gone, key)
		}
		return nil
	}
	return err
}

// sampleID and owner take keys of the store's own places apart.
func sampleID(key string) string { return element(key, 2) }
func owner(key string) string    { return element(key, 1) }

func element(key string, n int) string {
	parts := strings.SplitN(key, "/", n+2)
	if len(parts) <= n {
		return ""
	}
	return parts[n]
}
