//go:build linux

package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// EnterCgroup moves the calling process to a cgroup of the cluster's own in every hierarchy, below one that the
// kubelet can keep its pods in: a limit on the shell that started the cluster is not one on the cluster.
func EnterCgroup(name string) error {
	hierarchies, err := mountedHierarchies()
	if err != nil {
		return err
	}
	for _, root := range hierarchies {
		parent := root
		for _, part := range []string{name, "node"} {
			group := filepath.Join(parent, part)
			if err := os.MkdirAll(group, 0o755); err != nil {
				return fmt.Errorf("cgroup: %w", err)
			}
			inheritCPUSet(parent, group)
			parent = group
		}
		weighCPU(filepath.Join(root, name))
		if err := os.WriteFile(filepath.Join(parent, "cgroup.procs"), []byte("0"), 0o644); err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
	}
	return nil
}

// inheritCPUSet fills in what a version-1 cpuset group must have before it takes processes. Other hierarchies have no
// such files, or need none.
func inheritCPUSet(parent, group string) {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		if content, err := os.ReadFile(filepath.Join(parent, file)); err == nil {
			_ = os.WriteFile(filepath.Join(group, file), content, 0o644)
		}
	}
}

// weighCPU gives a group the weight of many: beside others on a busy machine a cluster would otherwise get what one process of
// theirs gets, and its API would not answer. Files of version 1 and 2; other hierarchies have neither.
func weighCPU(group string) {
	for file, weight := range map[string]string{"cpu.shares": "16384", "cpu.weight": "1600"} {
		if _, err := os.Stat(filepath.Join(group, file)); err == nil {
			_ = os.WriteFile(filepath.Join(group, file), []byte(weight), 0o644)
		}
	}
}

// RemoveCgroup deletes a dead cluster's cgroup from every hierarchy, waiting for up to five seconds for the kernel to
// be done with its processes.
func RemoveCgroup(name string) error {
	hierarchies, err := mountedHierarchies()
	if err != nil {
		return err
	}
	for _, root := range hierarchies {
		for attempt := range 100 {
			err = removeGroups(filepath.Join(root, name))
			if err == nil {
				break
			}
			if attempt < 99 {
				time.Sleep(poll)
			}
		}
		if err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
	}
	return nil
}

// removeGroups deletes a cgroup and those below it, deepest first. Their control files go with them.
func removeGroups(group string) error {
	var groups []string
	err := filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			groups = append(groups, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, path := range slices.Backward(groups) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func mountedHierarchies() ([]string, error) {
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cgroups: %w", err)
	}
	found := hierarchies(string(content))
	if len(found) == 0 {
		return nil, errors.New("cgroups: no hierarchy is mounted")
	}
	return found, nil
}

// hierarchies returns the mount points of cgroup hierarchies, of version 1 and 2, in the text of a mountinfo file
// (proc_pid_mountinfo(5): the fifth field is the mount point, and the file system's type follows a lone dash).
func hierarchies(mountinfo string) []string {
	var found []string
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		dash := slices.Index(fields, "-")
		if dash < 5 || dash+1 >= len(fields) {
			continue
		}
		if kind := fields[dash+1]; kind == "cgroup" || kind == "cgroup2" {
			found = append(found, fields[4])
		}
	}
	return found
}
