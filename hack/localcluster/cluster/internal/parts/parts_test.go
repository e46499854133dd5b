package parts

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEveryAssetIsAProgram(t *testing.T) {
	for _, name := range EnvtestAssets {
		if !slices.Contains(All(), name) {
			t.Errorf("%s is built by no module", name)
		}
	}
}

func TestEveryProgramIsPinnedByItsModule(t *testing.T) {
	for _, m := range modules {
		content, err := os.ReadFile(filepath.Join("../../..", m.dir, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range m.programs {
			if p.pkg != "." && !strings.Contains(string(content), p.pkg+"\n") {
				t.Errorf("%s: go.mod has no tool line for %s", m.dir, p.pkg)
			}
		}
	}
}

func TestAnyChangedPinChangesTheDigest(t *testing.T) {
	sources := t.TempDir()
	for _, m := range modules {
		for _, name := range []string{"go.mod", "go.sum"} {
			write(t, filepath.Join(sources, m.dir, name), m.dir)
		}
	}
	seen := map[string]string{digest(t, sources): "as it was"}
	for _, m := range modules {
		write(t, filepath.Join(sources, m.dir, "go.sum"), m.dir+" changed")
		now := digest(t, sources)
		if before, twice := seen[now]; twice {
			t.Errorf("a change of %s gives the digest of: %s", m.dir, before)
		}
		seen[now] = m.dir
	}
}

func TestBuildOutputTellsProgressFromComplaints(t *testing.T) {
	var seen buildOutput
	seen.read(strings.NewReader(`go: downloading example.com/a v1.0.0
example.com/a
example.com/b
# example.com/b
b.go:3:2: undefined: x
`))
	if seen.count() != 2 {
		t.Errorf("%d packages, want 2", seen.count())
	}
	if want := "# example.com/b\nb.go:3:2: undefined: x\n"; seen.complaints() != want {
		t.Errorf("complaints %q, want %q", seen.complaints(), want)
	}
}

func digest(t *testing.T, sources string) string {
	t.Helper()
	sum, err := sourceDigest(sources)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
