//go:build linux

package node

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestAClusterWeighsAsMuchAsManyProcesses(t *testing.T) {
	for file, want := range map[string]string{"cpu.shares": "16384", "cpu.weight": "1600", "memory.limit_in_bytes": "1"} {
		group := t.TempDir()
		path := filepath.Join(group, file)
		if err := os.WriteFile(path, []byte("1"), 0o644); err != nil {
			t.Fatal(err)
		}
		weighCPU(group)
		files, err := os.ReadDir(group)
		if err != nil {
			t.Fatal(err)
		}
		if content, err := os.ReadFile(path); err != nil || string(content) != want || len(files) != 1 {
			t.Errorf("%s is %s, %v, beside %d others; want %s", file, content, err, len(files)-1, want)
		}
	}
}

func TestHierarchies(t *testing.T) {
	const hybrid = `22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 25 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
32 30 0:28 / /sys/fs/cgroup/unified rw,relatime shared:10 master:1 - cgroup2 cgroup2 rw
short - cgroup
`
	tests := map[string]struct {
		mountinfo string
		want      []string
	}{
		"hybrid":    {hybrid, []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"}},
		"version 2": {"30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", []string{"/sys/fs/cgroup"}},
		"none":      {"22 1 254:0 / / rw - ext4 /dev/vda rw\n", nil},
		"empty":     {"", nil},
	}
	for name, test := range tests {
		if got := hierarchies(test.mountinfo); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

func TestRemoveGroupsGoesDeepestFirst(t *testing.T) {
	root := filepath.Join(t.TempDir(), "spatialalign-0123abcd")
	for _, group := range []string{"node", "kubepods/besteffort/pod1", "kubepods/burstable"} {
		if err := os.MkdirAll(filepath.Join(root, group), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for attempt := range 2 {
		if err := removeGroups(root); err != nil {
			t.Fatalf("attempt %d: %v", attempt, err)
		}
		if _, err := os.Stat(root); !os.IsNotExist(err) {
			t.Fatalf("attempt %d: the group is still there: %v", attempt, err)
		}
	}
}
