package retention

import (
	"context"
	"slices"
	"time"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
)

// batch is garbage that goes together, or not at all.
type batch struct {
	kind string
	// owner is the UID (run files), the sample's id, or the key (tracks).
	owner  string
	files  []artifact.Object // in the order of deletion
	spared bool
}

// sweep goes through the store's places once.
type sweep struct {
	store  *artifact.Store
	marks  *marks
	before time.Time

	kept, young map[string]*Total
	garbage     []batch
}

func (s *sweep) run(ctx context.Context) error {
	s.kept, s.young = map[string]*Total{}, map[string]*Total{}
	for _, place := range []struct {
		prefix string
		owner  func(key string) string
		judge  func(owner string, files []artifact.Object)
	}{
		{runsPlace, owner, s.judgeRun},
		{samplesPlace, sampleID, s.judgeSample},
		{tracksPlace, func(key string) string { return key }, s.judgeTrack},
	} {
		if err := s.walk(ctx, place.prefix, place.owner, place.judge); err != nil {
			return err
		}
	}
	return nil
}

// walk a place and judge the files of each owner together: listings are ordered, so they come in a row.
func (s *sweep) walk(ctx context.Context, prefix string, ownerOf func(string) string, judge func(string, []artifact.Object)) error {
	var owner string
	var files []artifact.Object
	err := s.store.Walk(ctx, prefix, func(o artifact.Object) error {
		if next := ownerOf(o.Key); next != owner {
			if owner != "" {
				judge(owner, files)
			}
			owner, files = next, nil
		}
		files = append(files, o)
		return nil
	})
	if err == nil && owner != "" {
		judge(owner, files)
	}
	return err
}

// judgeRun: what a deleted object's stages wrote goes but for the files that somebody else names.
func (s *sweep) judgeRun(uid string, files []artifact.Object) {
	if living, stays := s.marks.owners[uid]; stays {
		to := s.young
		if living {
			to = s.kept
		}
		s.add(to, KindRun, files...)
		return
	}
	var garbage []artifact.Object
	for _, o := range files {
		if s.marks.keys[o.Key] {
			s.add(s.kept, KindRun, o)
		} else {
			garbage = append(garbage, o)
		}
	}
	s.discard(KindRun, uid, garbage)
}

// judgeSample: a sample is in use as a whole, and then only what its sidecar does not name may go. One
// with a young file may be in the making, and stays.
func (s *sweep) judgeSample(id string, files []artifact.Object) {
	named, inUse := s.marks.samples[id]
	switch {
	case inUse && named == nil:
		s.add(s.kept, KindSample, files...)
	case inUse:
		var leftovers []artifact.Object
		for _, o := range files {
			if named[o.Key] || s.marks.keys[o.Key] {
				s.add(s.kept, KindSample, o)
			} else {
				leftovers = append(leftovers, o)
			}
		}
		s.discard(KindLeftover, id, leftovers)
	default:
		first := slices.IndexFunc(files, func(o artifact.Object) bool { return o.Key == contract.SidecarKey(id) })
		if first > 0 {
			files[0], files[first] = files[first], files[0]
		}
		s.discard(KindSample, id, files)
	}
}

func (s *sweep) judgeTrack(key string, files []artifact.Object) {
	if s.marks.tracks[key] {
		s.add(s.kept, KindTrack, files...)
		return
	}
	s.discard(KindTrack, key, files)
}

// discard files that nothing refers to, unless one of them is young.
func (s *sweep) discard(kind, owner string, files []artifact.Object) {
	switch {
	case len(files) == 0:
	case slices.ContainsFunc(files, func(o artifact.Object) bool { return o.ModTime.After(s.before) }):
		s.add(s.young, kind, files...)
	default:
		s.garbage = append(s.garbage, batch{kind: kind, owner: owner, files: files})
	}
}

func (s *sweep) add(to map[string]*Total, kind string, files ...artifact.Object) {
	if to[kind] == nil {
		to[kind] = &Total{}
	}
	for _, o := range files {
		to[kind].add(o)
	}
}

// kinds sums up what was found; what deletion spared counts as kept.
func (s *sweep) kinds() []Kind {
	total := func(of map[string]*Total, kind string) Total {
		if of[kind] == nil {
			return Total{}
		}
		return *of[kind]
	}
	var kinds []Kind
	for _, name := range []string{KindRun, KindSample, KindLeftover, KindTrack} {
		k := Kind{Kind: name, Kept: total(s.kept, name), Young: total(s.young, name)}
		for i := range s.garbage {
			b := &s.garbage[i]
			to := &k.Garbage
			if b.spared {
				to = &k.Kept
			}
			if b.kind == name {
				for _, o := range b.files {
					to.add(o)
				}
			}
		}
		kinds = append(kinds, k)
	}
	return kinds
}
