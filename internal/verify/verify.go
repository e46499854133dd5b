// Package verify checks every digest of a run: the artifacts that its status names, those of its lineage
// chain, and the samples that its indexes, scores and pairs name.
package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/lineage"
	"github.com/spatialalign/operator/internal/prompts"
	"github.com/spatialalign/operator/internal/records"
	"github.com/spatialalign/operator/internal/stage"
)

// Question names what to check.
type Question struct {
	Artifacts []Artifact `json:"artifacts"`
	// Lineage is the newest record of the run's chain; nil when there is none yet.
	Lineage *contract.Artifact `json:"lineage,omitempty"`
}

// Artifact of a kind, such as scores or adapter.
type Artifact struct {
	Kind string `json:"kind"`
	contract.Artifact
}

// Result of checking. It is whole also when there are defects.
type Result struct {
	// Kinds in the order of their names.
	Kinds []Kind `json:"kinds"`
	// Defects in the order of kinds and keys.
	Defects []Defect `json:"defects"`
}

// Kind sums up what was checked of a kind.
type Kind struct {
	Kind    string `json:"kind"`
	Checked int64  `json:"checked"`
	Defects int64  `json:"defects"`
}

// Defect is a file that is missing, or is not what its digest promises.
type Defect struct {
	Kind string `json:"kind"`
	Key  string `json:"key"`
	// Problem says what was expected and what was found.
	Problem string `json:"problem"`
}

// Kinds of what stands behind a sample.
const (
	kindSample = "sample" // its sidecar
	kindVideo  = "video"
	kindLatent = "latent"
)

const (
	// readers check files at once.
	readers = 16
	// maxLines bounds a file of lines, in bytes, as the stages do.
	maxLines = 512 << 20
)

// Run checks everything. An error means that the store refused, and that nothing is known.
func Run(ctx context.Context, store *artifact.Store, q Question, say func(format string, args ...any)) (*Result, error) {
	c := &checker{
		store: store, say: say, checked: map[string]int64{},
		samples: map[string]records.SampleRef{}, prompts: map[string]map[string]bool{},
	}
	named, checked := q.Artifacts, map[contract.Artifact]bool{}
	if q.Lineage != nil {
		chain, err := lineage.Chain(ctx, store, *q.Lineage)
		for _, link := range chain {
			named = append(named, ofRecord(link)...)
		}
		if err != nil {
			broken := nextOf(chain, *q.Lineage)
			checked[broken] = true
			if err := c.found("lineage", broken.Key, err); err != nil {
				return nil, err
			}
		}
	}
	// Many are named several times: by the status, by several records, as a candidate and as the best.
	once := slices.DeleteFunc(slices.Clone(named), func(a Artifact) bool {
		again := checked[a.Artifact]
		checked[a.Artifact] = true
		return again
	})
	if err := each(ctx, once, c.artifact); err != nil {
		return nil, err
	}
	samples := slices.SortedFunc(maps.Values(c.samples), func(a, b records.SampleRef) int { return strings.Compare(a.ID, b.ID) })
	if err := each(ctx, samples, c.sample); err != nil {
		return nil, err
	}
	return c.result(), nil
}

// ofRecord lists the artifacts of a record, and the record itself.
func ofRecord(link lineage.Link) []Artifact {
	list := []Artifact{{"lineage", link.Artifact}}
	for _, role := range slices.Sorted(maps.Keys(link.Record.Artifacts)) {
		kind, _, _ := strings.Cut(role, "/")
		list = append(list, Artifact{kind, link.Record.Artifacts[role]})
	}
	return list
}

// nextOf a chain is the record that could not be read, when one could not.
func nextOf(chain []lineage.Link, newest contract.Artifact) contract.Artifact {
	if len(chain) == 0 {
		return newest
	}
	if previous := chain[len(chain)-1].Record.Previous; previous != nil {
		return *previous
	}
	return chain[len(chain)-1].Artifact
}

func each[T any](ctx context.Context, items []T, check func(context.Context, T) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for _, item := range items {
		group.Go(func() error { return check(ctx, item) })
	}
	return group.Wait()
}

// checker keeps what was found. Its methods may be called concurrently.
type checker struct {
	store *artifact.Store
	say   func(format string, args ...any)
	files atomic.Int64

	mu      sync.Mutex
	checked map[string]int64
	defects []Defect
	samples map[string]records.SampleRef
	// prompts are the texts that a prompt id has in the run's prompt sets.
	prompts map[string]map[string]bool
}

// found counts a check. What concerns one file becomes a defect; that the store refuses is an error.
func (c *checker) found(kind, key string, err error) error {
	var e *artifact.Error
	if err != nil && (!errors.As(err, &e) || e.Kind == artifact.Storage) {
		return err
	}
	if n := c.files.Add(1); n%1000 == 0 {
		c.say("%d files checked", n)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.checked[kind]++
		return nil
	}
	problem := e.Err.Error()
	if artifact.IsMissing(err) {
		problem = "missing"
	}
	c.checked[kind]++
	c.defects = append(c.defects, Defect{kind, key, problem})
	return nil
}

// artifact checks a file, and notes the samples that it names.
func (c *checker) artifact(ctx context.Context, a Artifact) error {
	isPrompts := strings.HasPrefix(path.Base(a.Key), "prompts-")
	if !isPrompts && !records.NamesSamples(a.Key) {
		return c.found(a.Kind, a.Key, c.read(ctx, a.Artifact))
	}
	data, err := c.store.ReadVerified(ctx, a.Artifact, maxLines)
	if err == nil && isPrompts {
		err = c.notePrompts(data, a.Key)
	} else if err == nil {
		err = records.ReadSamples(bytes.NewReader(data), a.Key, c.noteSample)
	}
	var e *artifact.Error
	if err != nil && !errors.As(err, &e) {
		err = &artifact.Error{Kind: artifact.Corrupt, Op: "read", Key: a.Key, Err: err} // it does not parse
	}
	return c.found(a.Kind, a.Key, err)
}

func (c *checker) read(ctx context.Context, a contract.Artifact) error {
	r, err := c.store.OpenVerified(ctx, a)
	if err != nil {
		return err
	}
	defer r.Close()
	return r.Finish()
}

func (c *checker) notePrompts(data []byte, key string) error {
	lines, err := prompts.Read(bytes.NewReader(data), key)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, line := range lines {
		if c.prompts[line.PromptID] == nil {
			c.prompts[line.PromptID] = map[string]bool{}
		}
		c.prompts[line.PromptID][line.Prompt] = true
	}
	return nil
}

func (c *checker) noteSample(ref records.SampleRef) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.samples[ref.ID] = ref
	return nil
}

// sample checks sidecar, video and latent. A video that a user brought has no sidecar.
func (c *checker) sample(ctx context.Context, ref records.SampleRef) error {
	if ref.Video != nil {
		return c.found(kindVideo, ref.Video.Key, c.read(ctx, *ref.Video))
	}
	sidecar, err := stage.ReadSidecar(ctx, c.store, ref.ID)
	if err == nil {
		err = c.sameInputs(ref, sidecar)
	}
	if err := c.found(kindSample, contract.SidecarKey(ref.ID), err); err != nil || sidecar == nil {
		return err
	}
	if err := c.found(kindVideo, sidecar.Video.Key, c.store.Verify(ctx, sidecar.Video)); err != nil || sidecar.Latent == nil {
		return err
	}
	return c.found(kindLatent, sidecar.Latent.Key, c.store.Verify(ctx, *sidecar.Latent))
}

// sameInputs checks that a sample is the one that its id says, where the run's prompts tell the text.
func (c *checker) sameInputs(ref records.SampleRef, sidecar *contract.Sidecar) error {
	texts := c.prompts[ref.PromptID] // complete by now
	if len(texts) == 0 {
		return nil
	}
	for text := range texts {
		if contract.SampleKey(sidecar.Sampling, text, sidecar.Seed) == ref.ID {
			return nil
		}
	}
	return &artifact.Error{Kind: artifact.Corrupt, Op: "verify", Key: contract.SidecarKey(ref.ID),
		Err: fmt.Errorf("model, adapter, settings, prompt and seed of the sidecar do not make the sample's id")}
}

func (c *checker) result() *Result {
	r := &Result{Kinds: []Kind{}, Defects: c.defects}
	slices.SortFunc(r.Defects, func(a, b Defect) int {
		return strings.Compare(a.Kind+" "+a.Key, b.Kind+" "+b.Key)
	})
	defects := map[string]int64{}
	for _, d := range r.Defects {
		defects[d.Kind]++
	}
	for _, kind := range slices.Sorted(maps.Keys(c.checked)) {
		r.Kinds = append(r.Kinds, Kind{kind, c.checked[kind], defects[kind]})
	}
	return r
}

// Answer is the errand "verify": the question is a Question, the answer a Result.
func Answer(ctx context.Context, store *artifact.Store, question []byte, say func(string, ...any)) ([]byte, error) {
	var q Question
	if err := artifact.DecodeStrict(question, &q); err != nil {
		return nil, fmt.Errorf("question: %w", err)
	}
	result, err := Run(ctx, store, q, say)
	if err != nil {
		return nil, err
	}
	return json.Marshal(result)
}
