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
		if !slices.Contains(Cluster.Names(), name) {
			t.Errorf("%s is not among the programs", name)
		}
	}
}

func TestEveryProgramIsPinned(t *testing.T) {
	for _, set := range []Set{Cluster, Extras, Prometheus} {
		content, err := os.ReadFile(filepath.Join("../../../../..", set.folder, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range set.programs {
			if !strings.HasPrefix(p.pkg, "./") && !strings.Contains(string(content), p.pkg+"\n") {
				t.Errorf("%s: %s/go.mod has no tool line for %s", p.name, set.folder, p.pkg)
			}
		}
	}
}

func TestExecutableIsNamedAsGoBuildDoes(t *testing.T) {
	for pkg, want := range map[string]string{
		"k8s.io/kubernetes/cmd/kubelet":     "kubelet",
		"go.etcd.io/etcd/server/v3":         "server",
		"example.com/containerd-shim/v2run": "v2run",
		"./pause":                           "pause",
	} {
		if got := executable(pkg); got != want {
			t.Errorf("%s: %s, want %s", pkg, got, want)
		}
	}
}

func TestAnyChangedInputChangesTheDigest(t *testing.T) {
	module := t.TempDir()
	inputs := []string{"go.mod", "go.sum", "pause/main.go", "coredns/main.go"}
	for _, name := range inputs {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(module, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(module, name), name)
	}
	seen := map[string]string{digest(t, module): "as it was"}
	for _, name := range inputs {
		write(t, filepath.Join(module, name), name+" changed")
		now := digest(t, module)
		if before, twice := seen[now]; twice {
			t.Errorf("a change of %s gives the digest of: %s", name, before)
		}
		seen[now] = name
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
	sum, err := Cluster.sourceDigest(sources)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
