package artifact_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/artifact/s3test"
	"github.com/spatialalign/operator/internal/contract"
)

// TestFolderLinks: whoever may write to the volume may plant links there; none leads out of it.
func TestFolderLinks(t *testing.T) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, target := range map[string]string{
		"absolute-file": secret,
		"relative-file": relative(t, dir, secret),
		"absolute-dir":  outside,
		"relative-dir":  relative(t, dir, outside),
		"first-of-two":  "absolute-dir",
		"itself":        "itself",
		"nowhere":       filepath.Join(outside, "new"),
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, "file://"+dir)
	for _, key := range []string{
		"absolute-file", "relative-file", "absolute-dir/secret", "relative-dir/secret", "first-of-two/secret", "itself", "itself/x", "nowhere",
	} {
		data, err := s.ReadVerified(t.Context(), contract.Artifact{Key: key}, 100)
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("reading %s: %q, %v", key, data, err)
		}
		if _, err := s.Size(t.Context(), key); err == nil {
			t.Errorf("the size of %s is told", key)
		}
		_, _ = s.Write(t.Context(), key, strings.NewReader("overwritten"))
		_, _ = s.WriteIfAbsent(t.Context(), key, []byte("overwritten"))
	}
	if keys, err := s.List(t.Context(), "absolute-dir/"); err == nil || len(keys) > 0 {
		t.Errorf("listing through a link: %q, %v", keys, err)
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 1 {
		t.Errorf("outside the root there are now %v, %v", entries, err)
	}
	if data, err := os.ReadFile(secret); err != nil || string(data) != "canary" {
		t.Errorf("the file outside is now %q, %v", data, err)
	}
}

// TestFolderOddFiles: what is no regular file is bad input, and reading it does not block.
func TestFolderOddFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := open(t, "file://"+dir)
	for _, key := range []string{"folder", "pipe"} {
		_, err := s.ReadVerified(t.Context(), contract.Artifact{Key: key}, 10)
		wantExit(t, err, contract.ExitBadInput)
	}
	wantKeys(t, s, "")
}

// TestFolderDirectories: directories come and go with their files, also while others write there.
func TestFolderDirectories(t *testing.T) {
	dir := t.TempDir()
	s := open(t, "file://"+dir)
	var writers errgroup.Group
	for n := range 4 {
		writers.Go(func() error {
			for range 200 {
				key := fmt.Sprintf("samples/ab/%d", n)
				if _, err := s.Write(t.Context(), key, strings.NewReader("x")); err != nil {
					return err
				}
				if err := s.Delete(t.Context(), key); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := writers.Wait(); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// TestFolderRefuses: a volume that refuses is a storage error, and the file that stood there stays.
func TestFolderRefuses(t *testing.T) {
	dir := t.TempDir()
	s := open(t, "file://"+dir)
	write(t, s, "file", "x")
	_, err := s.Write(t.Context(), "file/below", strings.NewReader("x"))
	var e *artifact.Error
	if !errors.As(err, &e) {
		t.Errorf("writing below a file: %v", err)
	}
	wantKeys(t, s, "", "file")
}

// TestOpen: a store's URL is checked, and never repeats a password.
func TestOpen(t *testing.T) {
	for _, url := range []string{
		"", "folder", "/folder", "http://host/x", "mem://", "file://host/dir", "file://relative", "file:relative", "file:///dir?metadata=skip",
		"s3://", "s3://bucket?unknown=1", "s3://bucket/../x?region=r", "s3://user:hunter2@bucket/x", "://hunter2@", "s3://user:hunter2@bu cket",
	} {
		_, err := artifact.Open(t.Context(), url)
		if err == nil {
			t.Errorf("%q was opened", url)
			continue
		}
		wantExit(t, err, contract.ExitBadSpec)
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error repeats the password: %v", url, err)
		}
	}
}

// TestOpenExisting: who only looks makes no folder, and is not told that an absent one is empty.
func TestOpenExisting(t *testing.T) {
	dir := t.TempDir()
	absent := filepath.Join(dir, "none")
	if _, err := artifact.OpenExisting(t.Context(), "file://"+absent); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), absent) {
		t.Errorf("a folder that is absent: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("made: %v, %v", entries, err)
	}
	write(t, open(t, "file://"+absent), "key", "x")
	s, err := artifact.OpenExisting(t.Context(), "file://"+absent)
	if err != nil {
		t.Fatal(err)
	}
	wantKeys(t, s, "", "key")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestS3Refuses: wrong credentials, a bucket that is not there and a server that is not there are
// storage errors, whatever is asked.
func TestS3Refuses(t *testing.T) {
	server := s3test.Start(t)
	gone := "s3://artifacts?endpoint=http://127.0.0.1:1&region=us-east-1&use_path_style=true"
	for name, url := range map[string]string{"no such bucket": server.BucketURL("other", ""), "no server": gone, "wrong key": server.URL("x")} {
		t.Run(name, func(t *testing.T) {
			if name == "wrong key" {
				t.Setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
			}
			s := open(t, url)
			// Side by side: each keeps trying for a while where nobody answers.
			var written, read, listed error
			var all sync.WaitGroup
			all.Go(func() { _, written = s.Write(t.Context(), "k", strings.NewReader("x")) })
			all.Go(func() { _, read = s.ReadVerified(t.Context(), contract.Artifact{Key: "k"}, 10) })
			all.Go(func() { _, listed = s.List(t.Context(), "k") })
			all.Wait()
			for what, err := range map[string]error{"write": written, "read": read, "list": listed} {
				if err == nil {
					t.Errorf("%s: no error", what)
					continue
				}
				wantExit(t, err, contract.ExitStorage)
				if strings.Contains(err.Error(), "canary-secret") {
					t.Errorf("%s: the error repeats the secret: %v", what, err)
				}
			}
		})
	}
}

func relative(t *testing.T, from, to string) string {
	t.Helper()
	path, err := filepath.Rel(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
