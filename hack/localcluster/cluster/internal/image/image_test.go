package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func TestImageHoldsTheBinaryAndWhatItNeeds(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "program"), "#!", 0o700)
	write(t, filepath.Join(dir, "files", "deep", "a.json"), "{}", 0o600)
	archive := build(t, Spec{
		Name:       "docker.io/library/thing:dev",
		Binary:     filepath.Join(dir, "program"),
		Entrypoint: "/bin/thing",
		Add:        []File{{filepath.Join(dir, "files"), "/data"}},
	})
	img := load(t, archive)
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if c := file.Config; c.User != "65532:65532" || c.WorkingDir != "/" || len(c.Entrypoint) != 1 || c.Entrypoint[0] != "/bin/thing" {
		t.Errorf("config %+v", c)
	}
	modes := contents(t, img)
	for name, want := range map[string]int64{
		"tmp/": 0o1777, "bin/thing": 0o744, "data/deep/a.json": 0o644, "data/deep/": 0o755, "etc/passwd": 0o644,
	} {
		if mode, found := modes[name]; !found || mode != want {
			t.Errorf("%s: mode %o (there: %v), want %o", name, mode, found, want)
		}
	}
}

func TestSameInputsGiveTheSameArchive(t *testing.T) {
	dir := t.TempDir()
	spec := Spec{Name: "docker.io/example/thing:1", Binary: filepath.Join(dir, "program"), Entrypoint: "/thing"}
	write(t, spec.Binary, "#!", 0o755)
	first := build(t, spec)
	write(t, spec.Binary, "#!", 0o755)
	if second := build(t, spec); !bytes.Equal(first, second) {
		t.Error("two archives of the same inputs differ")
	}
}

func TestBadSpecsAreRefused(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "program")
	write(t, binary, "#!", 0o755)
	for what, spec := range map[string]Spec{
		"no tag":                {Name: "thing", Binary: binary, Entrypoint: "/thing"},
		"relative entrypoint":   {Name: "docker.io/example/thing:1", Binary: binary, Entrypoint: "thing"},
		"binary that is absent": {Name: "docker.io/example/thing:1", Binary: binary + "x", Entrypoint: "/thing"},
		"added file is absent":  {Name: "docker.io/example/thing:1", Binary: binary, Entrypoint: "/thing", Add: []File{{binary + "x", "/x"}}},
	} {
		if err := spec.Write(io.Discard); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

func TestParseFile(t *testing.T) {
	for text, want := range map[string]File{
		"a:/b":       {"a", "/b"},
		"/a/b:/c/./": {"/a/b", "/c"},
	} {
		if got, err := ParseFile(text); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "a", ":", "a:b", ":/b"} {
		if got, err := ParseFile(text); err == nil {
			t.Errorf("%q: accepted as %v", text, got)
		}
	}
}

func write(t *testing.T, file, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func build(t *testing.T, spec Spec) []byte {
	t.Helper()
	var archive bytes.Buffer
	if err := spec.Write(&archive); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

func load(t *testing.T, archive []byte) v1.Image {
	t.Helper()
	img, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// contents returns the mode of every entry by name, and fails on an entry before its folder or given twice.
func contents(t *testing.T, img v1.Image) map[string]int64 {
	t.Helper()
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v; want one", len(layers), err)
	}
	stream, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	modes := map[string]int64{}
	for entries := tar.NewReader(stream); ; {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return modes
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := modes[header.Name]; twice {
			t.Errorf("%s is there twice", header.Name)
		}
		if parent := filepath.Dir(filepath.Clean(header.Name)); parent != "." {
			if _, found := modes[parent+"/"]; !found {
				t.Errorf("%s comes before its folder", header.Name)
			}
		}
		modes[header.Name] = header.Mode
	}
}
