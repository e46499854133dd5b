package artifact_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/artifact/s3test"
	"github.com/spatialalign/operator/internal/contract"
)

// TestStore is what every store must do, run against a folder and a real S3 server.
func TestStore(t *testing.T) {
	t.Run("folder", func(t *testing.T) {
		testStore(t, func(t *testing.T) *artifact.Store { return open(t, "file://"+t.TempDir()+"/made/when/absent") })
	})
	t.Run("s3", func(t *testing.T) {
		server := s3test.Start(t)
		var n atomic.Int64
		testStore(t, func(t *testing.T) *artifact.Store { return open(t, server.URL(fmt.Sprintf("team/%d", n.Add(1)))) })
	})
}

func testStore(t *testing.T, fresh func(t *testing.T) *artifact.Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s *artifact.Store)
	}{
		{"what was written is read back and described", readsBack},
		{"an empty file is a file", emptyFile},
		{"a large file streams", largeFile},
		{"a second write replaces the first", replaces},
		{"a missing file is bad input", missing},
		{"another digest is bad input, by every way of reading", otherDigest},
		{"a file above the limit is refused", aboveLimit},
		{"a source that fails leaves nothing behind", failingSource},
		{"a cancelled write leaves nothing behind and says that it was cancelled", cancelledWrite},
		{"create-if-absent has one winner among racing writers", oneWinner},
		{"keys are listed by prefix, in byte order", lists},
		{"keys that could leave the root are refused", badKeys},
		{"a walk tells size and age, and ends with its function's error", walks},
		{"what is deleted is gone, also twice", deletes},
		{"a manifest is found again only while it and its files are intact", findsManifest},
		{"a manifest of other work is not adopted", foreignManifests},
		{"the newest earlier attempt is adopted", newestAttempt},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, fresh(t)) })
	}
}

func readsBack(t *testing.T, s *artifact.Store) {
	f := write(t, s, "a/b.txt", "hello")
	if diff := cmp.Diff(contract.File{Key: "a/b.txt", Size: 5, Digest: contract.Digest([]byte("hello"))}, f); diff != "" {
		t.Errorf("written file (-want +got):\n%s", diff)
	}
	for _, digest := range []string{f.Digest, ""} {
		got, err := s.ReadVerified(t.Context(), contract.Artifact{Key: f.Key, Digest: digest}, 5)
		if err != nil || string(got) != "hello" {
			t.Errorf("ReadVerified with digest %q = %q, %v", digest, got, err)
		}
	}
	if size, err := s.Size(t.Context(), f.Key); err != nil || size != 5 {
		t.Errorf("Size = %d, %v", size, err)
	}
	if err := s.Verify(t.Context(), f); err != nil {
		t.Errorf("Verify: %v", err)
	}
	if err := s.Sync(); err != nil {
		t.Errorf("Sync: %v", err)
	}
}

func walks(t *testing.T, s *artifact.Store) {
	begin := time.Now().Add(-time.Minute)
	write(t, s, "a/1", "1")
	write(t, s, "a/2", "22")
	var sizes []int64
	err := s.Walk(t.Context(), "a/", func(o artifact.Object) error {
		if o.ModTime.Before(begin) || o.ModTime.After(time.Now().Add(time.Minute)) {
			t.Errorf("%s is of %s", o.Key, o.ModTime)
		}
		sizes = append(sizes, o.Size)
		return nil
	})
	if err != nil || !slices.Equal(sizes, []int64{1, 2}) {
		t.Errorf("sizes %v, %v", sizes, err)
	}
	stop := errors.New("stop")
	if err := s.Walk(t.Context(), "a/", func(artifact.Object) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
}

func deletes(t *testing.T, s *artifact.Store) {
	write(t, s, "a/b/1", "1")
	write(t, s, "a/c/2", "2")
	for range 2 {
		if err := s.Delete(t.Context(), "a/b/1"); err != nil {
			t.Error(err)
		}
	}
	wantKeys(t, s, "", "a/c/2")
	write(t, s, "a/b/1", "again")
	if err := s.Delete(t.Context(), "../a"); err == nil {
		t.Error("a key outside the root was accepted")
	}
}

func emptyFile(t *testing.T, s *artifact.Store) {
	if err := s.Verify(t.Context(), write(t, s, "empty", "")); err != nil {
		t.Error(err)
	}
}

func largeFile(t *testing.T, s *artifact.Store) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 20<<20/16) // S3 takes it in parts
	f, err := s.Write(t.Context(), "large", bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if want := contract.Digest(data); f.Digest != want || f.Size != int64(len(data)) {
		t.Errorf("wrote %d bytes with digest %s, want %d with %s", f.Size, f.Digest, len(data), want)
	}
	if err := s.Verify(t.Context(), f); err != nil {
		t.Error(err)
	}
}

func replaces(t *testing.T, s *artifact.Store) {
	old := write(t, s, "k", "old")
	now := write(t, s, "k", "new")
	if err := s.Verify(t.Context(), now); err != nil {
		t.Error(err)
	}
	wantExit(t, s.Verify(t.Context(), old), contract.ExitBadInput)
}

func missing(t *testing.T, s *artifact.Store) {
	write(t, s, "a/b", "x")
	for _, key := range []string{"nowhere", "a", "a/b/c"} {
		_, err := s.ReadVerified(t.Context(), contract.Artifact{Key: key}, 10)
		if !artifact.IsMissing(err) && !artifact.IsCorrupt(err) {
			t.Errorf("reading %s: %v", key, err)
		}
		wantExit(t, err, contract.ExitBadInput)
	}
	if _, err := s.Size(t.Context(), "nowhere"); !artifact.IsMissing(err) {
		t.Errorf("Size: %v", err)
	}
}

func otherDigest(t *testing.T, s *artifact.Store) {
	f := write(t, s, "k", "hello")
	for name, digest := range map[string]string{"another": contract.Digest([]byte("other")), "malformed": "sha256:123"} {
		a := contract.Artifact{Key: "k", Digest: digest}
		_, err := s.ReadVerified(t.Context(), a, 10)
		if !artifact.IsCorrupt(err) {
			t.Errorf("ReadVerified with %s digest: %v", name, err)
		}
		wantExit(t, err, contract.ExitBadInput)
		if err := s.Verify(t.Context(), contract.File{Key: "k", Size: 5, Digest: digest}); !artifact.IsCorrupt(err) {
			t.Errorf("Verify with %s digest: %v", name, err)
		}
	}
	r, err := s.OpenVerified(t.Context(), contract.Artifact{Key: "k", Digest: contract.Digest([]byte("other"))})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadAll(r); !artifact.IsCorrupt(err) {
		t.Errorf("streaming to the end: %v", err)
	}
	if err := r.Finish(); !artifact.IsCorrupt(err) {
		t.Errorf("Finish after the end: %v", err)
	}
	f.Size++
	if err := s.Verify(t.Context(), f); !artifact.IsCorrupt(err) {
		t.Errorf("Verify with another size: %v", err)
	}
}

func aboveLimit(t *testing.T, s *artifact.Store) {
	f := write(t, s, "k", "hello")
	_, err := s.ReadVerified(t.Context(), contract.Artifact{Key: f.Key, Digest: f.Digest}, 4)
	wantExit(t, err, contract.ExitBadInput)
}

func failingSource(t *testing.T, s *artifact.Store) {
	broken := errors.New("source broke")
	_, err := s.Write(t.Context(), "dir/k", io.MultiReader(strings.NewReader("some"), readerFunc(func([]byte) (int, error) { return 0, broken })))
	if !errors.Is(err, broken) {
		t.Errorf("error is %v, want the source's", err)
	}
	var storage *artifact.Error
	if errors.As(err, &storage) {
		t.Errorf("the source's error %v is taken for the store's", err)
	}
	wantKeys(t, s, "")
}

func cancelledWrite(t *testing.T, s *artifact.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Write(ctx, "dir/k", readerFunc(func(p []byte) (int, error) {
		cancel()
		return copy(p, "bytes"), io.EOF
	}))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want one that wraps context.Canceled", err)
	}
	wantKeys(t, s, "")
}

func oneWinner(t *testing.T, s *artifact.Store) {
	const writers = 16
	var group sync.WaitGroup
	var winners atomic.Int64
	start := make(chan struct{})
	for i := range writers {
		group.Go(func() {
			<-start
			committed, err := s.WriteIfAbsent(t.Context(), "samples/s/sample.json", []byte(fmt.Sprint("writer ", i)))
			if err != nil {
				t.Error(err)
			}
			if committed {
				winners.Add(1)
			}
		})
	}
	close(start)
	group.Wait()
	if winners.Load() != 1 {
		t.Errorf("%d writers were told that they committed, want 1", winners.Load())
	}
	before, err := s.ReadVerified(t.Context(), contract.Artifact{Key: "samples/s/sample.json"}, 100)
	if err != nil {
		t.Fatal(err)
	}
	if committed, err := s.WriteIfAbsent(t.Context(), "samples/s/sample.json", []byte("late")); committed || err != nil {
		t.Errorf("a late writer: committed %v, %v", committed, err)
	}
	after, err := s.ReadVerified(t.Context(), contract.Artifact{Key: "samples/s/sample.json"}, 100)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file changed from %q to %q, %v", before, after, err)
	}
	wantKeys(t, s, "", "samples/s/sample.json")
}

func lists(t *testing.T, s *artifact.Store) {
	for _, key := range []string{"a/b/c", "a-b", "a/b.d", "b", "a/b-c/d"} {
		write(t, s, key, key)
	}
	wantKeys(t, s, "", "a-b", "a/b-c/d", "a/b.d", "a/b/c", "b")
	wantKeys(t, s, "a/", "a/b-c/d", "a/b.d", "a/b/c")
	wantKeys(t, s, "a/b", "a/b-c/d", "a/b.d", "a/b/c")
	wantKeys(t, s, "a/b/", "a/b/c")
	wantKeys(t, s, "nothing/here/")
	wantKeys(t, s, "b/below/a/file")
}

func badKeys(t *testing.T, s *artifact.Store) {
	for _, key := range []string{
		"", ".", "..", "../x", "a/../../x", "a/..", "/etc/passwd", "a//b", "a/", "./a", "%2e%2e/x", "..%2fx",
		"a\x00b", "a\nb", `..\x`, `C:\x`, "ä", "a b", "~", strings.Repeat("a", 1025),
	} {
		_, read := s.ReadVerified(t.Context(), contract.Artifact{Key: key}, 10)
		_, open := s.OpenVerified(t.Context(), contract.Artifact{Key: key})
		_, size := s.Size(t.Context(), key)
		_, written := s.Write(t.Context(), key, strings.NewReader("x"))
		_, created := s.WriteIfAbsent(t.Context(), key, []byte("x"))
		verified := s.Verify(t.Context(), contract.File{Key: key, Digest: contract.Digest(nil)})
		for _, err := range []error{read, open, size, written, created, verified} {
			if err == nil || !strings.Contains(err.Error(), "artifact key") {
				t.Errorf("key %q: error is %v, want one about the key", key, err)
			}
		}
	}
	wantKeys(t, s, "")
}

func open(t *testing.T, url string) *artifact.Store {
	t.Helper()
	s, err := artifact.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func write(t *testing.T, s *artifact.Store, key, data string) contract.File {
	t.Helper()
	f, err := s.Write(t.Context(), key, strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func wantKeys(t *testing.T, s *artifact.Store, prefix string, want ...string) {
	t.Helper()
	got, err := s.List(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("keys with prefix %q are %q, want %q", prefix, got, want)
	}
}

func wantExit(t *testing.T, err error, want contract.ExitCode) {
	t.Helper()
	var e *artifact.Error
	if !errors.As(err, &e) || e.ExitCode() != want {
		t.Errorf("error %v does not mean exit code %d", err, want)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
