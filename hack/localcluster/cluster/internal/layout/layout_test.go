package layout

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func TestClustersOfTwoFoldersShareNothing(t *testing.T) {
	one, two := mustNew(t, "/srv/one/.local/cluster"), mustNew(t, "/srv/two/.local/cluster")
	for what, pair := range map[string][2]string{
		"cgroup": {one.Cgroup(), two.Cgroup()},
		"link":   {one.Link(), two.Link()},
		"subnet": {one.Subnet(0).String(), two.Subnet(0).String()},
	} {
		if pair[0] == pair[1] {
			t.Errorf("%s: both have %s", what, pair[0])
		}
	}
}

func TestNewFollowsLinks(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(base, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(base, "link")); err != nil {
		t.Fatal(err)
	}
	linked := mustNew(t, filepath.Join(base, "link", "not", "yet"))
	if want := filepath.Join(base, "real", "not", "yet"); linked.Dir != want {
		t.Errorf("folder %s, want %s", linked.Dir, want)
	}
	if direct := mustNew(t, filepath.Join(base, "real", "not", "yet")); direct != linked {
		t.Errorf("the same folder gave %v and %v", direct, linked)
	}
}

func TestNewRefusesFoldersThatTheClusterHides(t *testing.T) {
	for _, dir := range []string{"/run", "/run/user/0/cluster", "/var/log/cluster", "/var/lib/kubelet/x"} {
		if l, err := New(dir); err == nil {
			t.Errorf("%s was accepted as %s", dir, l.Dir)
		}
	}
	mustNew(t, "/running/cluster")
}

func TestSubnetsAreDistinctNetworksInTheRange(t *testing.T) {
	l := mustNew(t, "/srv/one")
	whole := netip.MustParsePrefix("10.199.0.0/16")
	seen := map[netip.Prefix]bool{}
	for attempt := range 1 << 14 {
		subnet := l.Subnet(attempt)
		if subnet.Bits() != 30 || subnet.Masked() != subnet || !whole.Overlaps(subnet) {
			t.Fatalf("attempt %d: %v is no /30 network in %v", attempt, subnet, whole)
		}
		if !subnet.Contains(HostAddress(subnet)) || !subnet.Contains(NodeAddress(subnet)) {
			t.Fatalf("attempt %d: addresses %v and %v are outside of %v", attempt, HostAddress(subnet), NodeAddress(subnet), subnet)
		}
		seen[subnet] = true
	}
	if len(seen) != 1<<14 {
		t.Errorf("%d distinct networks, want all %d", len(seen), 1<<14)
	}
}

func TestLinkNameFitsTheKernel(t *testing.T) {
	if link := mustNew(t, "/srv/one").Link(); len(link) > 15 {
		t.Errorf("%q has %d bytes", link, len(link))
	}
}

func TestRemoveLeavesForeignFiles(t *testing.T) {
	l := mustNew(t, filepath.Join(t.TempDir(), "cluster"))
	for _, file := range []string{"etcd/member", "volumes/local-0/data", "keys/ca.crt", "mine.txt"} {
		if err := os.MkdirAll(filepath.Dir(l.Path(file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(l.Path(file), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	steps := []struct {
		keepData bool
		left     map[string]bool
	}{
		{true, map[string]bool{"etcd/member": true, "volumes/local-0/data": true, "keys/ca.crt": true, "mine.txt": true}},
		{false, map[string]bool{"etcd/member": false, "volumes/local-0/data": false, "keys/ca.crt": false, "mine.txt": true}},
	}
	for _, step := range steps {
		if err := l.Remove(step.keepData); err != nil {
			t.Fatal(err)
		}
		for file, want := range step.left {
			if _, err := os.Stat(l.Path(file)); (err == nil) != want {
				t.Errorf("keepData %v: %s is there: %v, want %v", step.keepData, file, err == nil, want)
			}
		}
	}
	if err := os.Remove(l.Path("mine.txt")); err != nil {
		t.Fatal(err)
	}
	if err := l.Remove(false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(l.Dir); !os.IsNotExist(err) {
		t.Errorf("the empty folder is still there: %v", err)
	}
}

func TestOnlyAClustersFolderOrAnEmptyOneIsClaimed(t *testing.T) {
	l := mustNew(t, filepath.Join(t.TempDir(), "new", "cluster"))
	for _, state := range []string{"absent", "claimed", "claimed and in use"} {
		if err := l.Claim(); err != nil {
			t.Errorf("%s: %v", state, err)
		}
		if err := os.MkdirAll(l.Path("etcd"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Remove(true); err != nil {
		t.Fatal(err)
	}
	if err := l.Claim(); err != nil {
		t.Errorf("with kept data: %v", err)
	}
	foreign := mustNew(t, t.TempDir())
	if err := os.Mkdir(foreign.Path("logs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := foreign.Claim(); err == nil {
		t.Error("a folder with other contents was claimed")
	}
}

func TestFindCheckout(t *testing.T) {
	root := t.TempDir()
	module := filepath.Join(root, "hack/localcluster")
	if err := os.MkdirAll(module, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(module, "go.mod"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if found, err := FindCheckout(module); err != nil || found != root {
		t.Errorf("from %s: %q, %v; want %q", module, found, err, root)
	}
	if found, err := FindCheckout("/"); err == nil {
		t.Errorf("the root folder is said to be in checkout %s", found)
	}
}

func mustNew(t *testing.T, dir string) Layout {
	t.Helper()
	l, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
