//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/internal/contract"
)

// store is a namespace's volume, as this machine sees it.
type store struct {
	cluster
	dir string
	// seen are the sidecars that were there at some time, by path.
	seen map[string]sidecar
}

// sidecar is a committed sample.
type sidecar struct {
	info os.FileInfo
	// digest of the file.
	digest string
}

func (c cluster) openStore(ns string) *store {
	c.Helper()
	var claim corev1.PersistentVolumeClaim
	if err := c.Get(c.Context(), client.ObjectKey{Namespace: ns, Name: "spatialalign-store"}, &claim); err != nil {
		c.Fatal(err)
	}
	var volume corev1.PersistentVolume
	if err := c.Get(c.Context(), client.ObjectKey{Name: claim.Spec.VolumeName}, &volume); err != nil {
		c.Fatal(err)
	}
	if volume.Spec.Local == nil {
		c.Fatalf("volume %s is no folder of this machine: this test needs the local cluster (make cluster-up deploy)", volume.Name)
	}
	return &store{cluster: c, dir: volume.Spec.Local.Path, seen: map[string]sidecar{}}
}

// files gives the files that match a pattern below the store.
func (s *store) files(pattern string) []string {
	s.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, pattern))
	if err != nil {
		s.Fatal(err)
	}
	return files
}

// look sees to it that every sidecar that was seen before is still the same file, with the same content.
func (s *store) look() {
	s.Helper()
	now := map[string]sidecar{}
	for _, path := range s.files("samples/*/*/sample.json") {
		info, err := os.Stat(path)
		if err != nil {
			s.Fatal(err)
		}
		now[path] = sidecar{info, contract.Digest(s.read(path))}
	}
	for path, was := range s.seen {
		is, ok := now[path]
		if !ok || !os.SameFile(was.info, is.info) || !was.info.ModTime().Equal(is.info.ModTime()) || was.digest != is.digest {
			s.Errorf("%s was committed, and has been deleted or written again", path)
		}
	}
	s.seen = now
}

// compare holds the samples against those of an undisturbed run: the same ones, with the same bits. None was begun by a pod
// after it had been committed, and a pod that ended well made as many as it says. It tells how many were made twice.
func (s *store) compare(calm *store) string {
	s.Helper()
	is, want := s.contents(), calm.contents()
	for id, content := range want {
		if is[id] != content {
			s.Errorf("sample %s is %q, and %q in the undisturbed run", id, is[id], content)
		}
	}
	if len(is) != len(want) {
		s.Errorf("%d samples are committed, and %d in the undisturbed run", len(is), len(want))
	}
	makers := s.makers()
	twice := 0
	for pod, m := range makers {
		for _, id := range m.samples {
			committed := s.stat(filepath.Join(s.dir, contract.SidecarKey(id)))
			if s.contentOf(id).pod == pod {
				continue
			}
			twice++
			if committed.ModTime().Before(m.began.Add(-making)) {
				s.Errorf("pod %s made sample %s again at %s, which was committed at %s", pod, id, m.began, committed.ModTime())
			}
		}
	}
	pods, generated := s.checkCounts(makers)
	if pods == 0 {
		s.Error("no sampling pod has left a manifest")
	}
	return fmt.Sprintf("%d samples committed once each, %d of them by %d pods that ended and the others by %d that were interrupted; made again because they were in flight: %d",
		len(is), generated, pods, len(makers)-pods, twice)
}

// checkCounts compares what the manifests of sampling pods say with what lies there.
func (s *store) checkCounts(makers map[string]maker) (pods int, generated int64) {
	s.Helper()
	err := filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "manifest.json" {
			return err
		}
		var m contract.Manifest
		s.decode(path, &m)
		if m.Stage != contract.Sample {
			return nil
		}
		if made := int64(len(makers[m.PodUID].samples)); made != m.Counts["generated"] || m.Counts["generated"]+m.Counts["reused"] != m.Counts["total"] {
			s.Errorf("%s counts %v, and the pod made %d samples", path, m.Counts, made)
		}
		pods++
		generated += m.Counts["generated"]
		return nil
	})
	if err != nil {
		s.Fatal(err)
	}
	return pods, generated
}

// making is how long a pod may take, on a busy machine, from when it looks for its first sample to when it has made and written
// it. What another pod commits meanwhile was in flight.
const making = 5 * time.Second

// maker is a pod that made samples.
type maker struct {
	// began is when it wrote its first file.
	began   time.Time
	samples []string
}

// makers of the samples, whether theirs was the one committed or not, by the pod's UID.
func (s *store) makers() map[string]maker {
	s.Helper()
	makers := map[string]maker{}
	for _, video := range s.files("samples/*/*/*/video.gif") {
		folder := filepath.Dir(video)
		m, pod := makers[filepath.Base(folder)], filepath.Base(folder)
		if written := s.stat(video).ModTime(); m.began.IsZero() || written.Before(m.began) {
			m.began = written
		}
		m.samples = append(m.samples, filepath.Base(filepath.Dir(folder)))
		makers[pod] = m
	}
	return makers
}

// content of a committed sample.
type content struct{ pod, video, latent string }

// contents of all committed samples, by id, without who made them.
func (s *store) contents() map[string]content {
	s.Helper()
	all := map[string]content{}
	for _, path := range s.files("samples/*/*/sample.json") {
		id := filepath.Base(filepath.Dir(path))
		c := s.contentOf(id)
		c.pod = ""
		all[id] = c
	}
	return all
}

func (s *store) contentOf(id string) content {
	s.Helper()
	var line contract.Sidecar
	s.decode(filepath.Join(s.dir, contract.SidecarKey(id)), &line)
	c := content{pod: strings.Split(line.Video.Key, "/")[3], video: line.Video.Digest}
	if line.Latent != nil {
		c.latent = line.Latent.Digest
	}
	return c
}

func (s *store) decode(path string, into any) {
	s.Helper()
	if err := json.Unmarshal(s.read(path), into); err != nil {
		s.Fatalf("%s: %v", path, err)
	}
}

func (s *store) read(path string) []byte {
	s.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		s.Fatal(err)
	}
	return data
}

func (s *store) stat(path string) os.FileInfo {
	s.Helper()
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		s.Fatalf("a sample was made but never committed: %v", err)
	}
	if err != nil {
		s.Fatal(err)
	}
	return info
}
