package retention

import (
	"bytes"
	"context"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/lineage"
	"github.com/spatialalign/operator/internal/prompts"
	"github.com/spatialalign/operator/internal/records"
	"github.com/spatialalign/operator/internal/stage"
)

const (
	runsPlace    = "runs/"
	samplesPlace = "samples/"
	tracksPlace  = "tracks/"
	// maxLines bounds a file of lines, in bytes, as the stages do.
	maxLines = 512 << 20
)

// marks are what must stay.
type marks struct {
	store *artifact.Store
	// owners are the UIDs whose files stay, and whether their objects live; the others have written lately.
	owners map[string]bool
	// keys that stay wherever they lie.
	keys map[string]bool
	// samples that stay: the files of each that its sidecar names, nil when that does not tell.
	samples map[string]map[string]bool
	// tracks that stay, by key.
	tracks map[string]bool
	gone   []string

	// refs are the samples named, each with the prompt ids that it was named with.
	refs map[string]records.SampleRef
	// words are the subjects and objects of each prompt id: sets of different runs may share ids.
	words map[string]map[sought]bool
	// videos of users, whose digests a living index tells.
	videos []records.SampleRef
}

var sampleIDPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// sought is what a detector looks for.
type sought struct{ subject, object string }

// mark follows the roots. Owners that nobody knows, but with a file younger than the minimum age, stay like
// living ones: their object may have been made since the roots were taken.
func mark(ctx context.Context, store *artifact.Store, roots Roots, before time.Time) (*marks, error) {
	m := &marks{
		store: store, owners: map[string]bool{}, keys: map[string]bool{}, samples: map[string]map[string]bool{},
		tracks: map[string]bool{}, refs: map[string]records.SampleRef{}, words: map[string]map[sought]bool{},
	}
	for _, uid := range roots.UIDs {
		m.owners[uid] = true
	}
	var telling []string // files that name others, by all owners
	err := store.Walk(ctx, runsPlace, func(o artifact.Object) error {
		if _, stays := m.owners[owner(o.Key)]; !stays && o.ModTime.After(before) {
			m.owners[owner(o.Key)] = false
		}
		if tells(o.Key) {
			telling = append(telling, o.Key)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, key := range telling {
		if _, stays := m.owners[owner(key)]; !stays {
			continue
		}
		if err := m.follow(ctx, contract.Artifact{Key: key}); err != nil {
			return nil, err
		}
	}
	for _, a := range roots.Artifacts {
		if err := m.follow(ctx, a); err != nil {
			return nil, err
		}
	}
	if err := m.resolve(ctx, roots.Detectors); err != nil {
		return nil, err
	}
	return m, nil
}

// tells whether a file names others.
func tells(key string) bool {
	name := path.Base(key)
	return records.NamesSamples(key) || strings.HasPrefix(name, "prompts-") || name == "lineage.json"
}

// follow marks a file and what it names.
func (m *marks) follow(ctx context.Context, a contract.Artifact) error {
	if m.keys[a.Key] {
		return nil
	}
	m.keys[a.Key] = true
	switch name := path.Base(a.Key); {
	case !strings.HasPrefix(a.Key, runsPlace):
		return m.followUsers(ctx, a.Key)
	case name == "lineage.json":
		return m.followLineage(ctx, a)
	case strings.HasPrefix(name, "prompts-"):
		return m.readLines(ctx, a, m.notePrompts)
	case records.NamesSamples(a.Key):
		return m.readLines(ctx, a, m.noteSamples)
	default:
		return nil
	}
}

// followUsers marks what a user's own file names. It may be an index, pairs, scores or prompts, and it may
// be none of these, or damaged, which is for the stage to say that reads it.
func (m *marks) followUsers(ctx context.Context, key string) error {
	if !strings.HasSuffix(key, ".jsonl") && !strings.HasSuffix(key, ".csv") {
		return nil
	}
	return m.readLines(ctx, contract.Artifact{Key: key}, func(data []byte, key string) error {
		for _, form := range []string{"index-x.jsonl", "pairs.jsonl", "scores.jsonl"} {
			if m.noteSamples(data, form) == nil {
				return nil
			}
		}
		_ = m.notePrompts(data, key)
		return nil
	})
}

func (m *marks) followLineage(ctx context.Context, a contract.Artifact) error {
	record, err := lineage.Read(ctx, m.store, a)
	if err != nil {
		return m.tolerateGone(a.Key, err)
	}
	for _, named := range record.Artifacts {
		if err := m.follow(ctx, named); err != nil {
			return err
		}
	}
	if record.Previous == nil {
		return nil
	}
	return m.follow(ctx, *record.Previous)
}

func (m *marks) readLines(ctx context.Context, a contract.Artifact, note func(data []byte, key string) error) error {
	data, err := m.store.ReadVerified(ctx, a, maxLines)
	if err != nil {
		return m.tolerateGone(a.Key, err)
	}
	return note(data, a.Key)
}

func (m *marks) notePrompts(data []byte, key string) error {
	lines, err := prompts.Read(bytes.NewReader(data), key)
	for _, line := range lines {
		if m.words[line.PromptID] == nil {
			m.words[line.PromptID] = map[sought]bool{}
		}
		m.words[line.PromptID][sought{line.Subject, line.Object}] = true
	}
	return err
}

func (m *marks) noteSamples(data []byte, key string) error {
	return records.ReadSamples(bytes.NewReader(data), key, func(ref records.SampleRef) error {
		if ref.Video != nil {
			m.keys[ref.Video.Key] = true
			m.videos = append(m.videos, ref)
		}
		m.refs[ref.ID] = ref
		return nil
	})
}

// resolve finds the files of the marked samples, and the tracks of their videos.
func (m *marks) resolve(ctx context.Context, detectors []contract.Detector) error {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for id, ref := range m.refs {
		group.Go(func() error {
			named, video, err := m.sample(ctx, id)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			m.samples[id] = named
			m.markTracks(video, ref.PromptID, detectors)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, ref := range m.videos {
		m.markTracks(ref.Video.Digest, ref.PromptID, detectors)
	}
	return nil
}

// sample gives the files that a sidecar names, and the video's digest. One that is damaged tells nothing,
// and all that lies there stays; one that is not there has nothing to keep.
func (m *marks) sample(ctx context.Context, id string) (files map[string]bool, video string, err error) {
	if !sampleIDPattern.MatchString(id) {
		return nil, "", nil // an id of a user's own, who brought the video
	}
	sidecar, err := stage.ReadSidecar(ctx, m.store, id)
	switch {
	case artifact.IsMissing(err), artifact.IsCorrupt(err):
		return nil, "", nil
	case err != nil:
		return nil, "", err
	}
	files = map[string]bool{contract.SidecarKey(id): true, sidecar.Video.Key: true}
	if sidecar.Latent != nil {
		files[sidecar.Latent.Key] = true
	}
	return files, sidecar.Video.Digest, nil
}

// markTracks keeps a video's tracks, whichever detector and words they were made with.
func (m *marks) markTracks(video, promptID string, detectors []contract.Detector) {
	if video == "" {
		return
	}
	for _, d := range detectors {
		for w := range m.words[promptID] {
			m.tracks[contract.TrackFileKey(contract.TrackKey(video, d, w.subject, w.object))] = true
		}
	}
}

// needs says whether a batch that was garbage has come into use.
func (m *marks) needs(b *batch) bool {
	switch b.kind {
	case KindRun:
		_, stays := m.owners[b.owner]
		return stays
	case KindSample:
		_, named := m.samples[b.owner]
		return named
	case KindTrack:
		return m.tracks[b.owner]
	default:
		files, named := m.samples[b.owner]
		if !named {
			return false
		}
		for _, o := range b.files {
			if files == nil || files[o.Key] {
				return true
			}
		}
		return false
	}
}
