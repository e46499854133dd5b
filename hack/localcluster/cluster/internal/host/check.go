//go:build linux

// Package host is what the driver needs of the machine: rights, Debian packages, a free subnet, a cable.
package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Check tells why this machine cannot run the cluster, or nil if it can.
func Check() error {
	switch {
	case runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64":
		return fmt.Errorf("it runs on amd64 and arm64 only, this is %s", runtime.GOARCH)
	case os.Geteuid() != 0:
		return errors.New("it must be started by root")
	}
	for _, needed := range []struct {
		capability int
		name       string
	}{
		{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},
		{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"},
		{unix.CAP_MKNOD, "CAP_MKNOD"},
	} {
		// Asked of the bounding set, which is also what the cluster's programs could at most have.
		if held, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(needed.capability), 0, 0, 0); err != nil || held != 1 {
			return fmt.Errorf("this machine withholds %s from root, as containers do", needed.name)
		}
	}
	if unix.Access("/proc/sys/net/ipv4/ip_forward", unix.W_OK) != nil {
		return errors.New("/proc/sys is read-only here, as in a container")
	}
	const cgroups = "/sys/fs/cgroup"
	var found unix.Statfs_t
	if err := unix.Statfs(cgroups, &found); err != nil {
		return fmt.Errorf("no cgroups: %w", err)
	}
	if found.Type == unix.CGROUP2_SUPER_MAGIC && unix.Access(cgroups, unix.W_OK) != nil {
		return fmt.Errorf("%s is read-only here, as in a container", cgroups)
	}
	return nil
}

// packages maps a file that the cluster needs to the Debian package that brings it.
var packages = []struct{ file, name string }{
	{"/usr/sbin/runc", "runc"},
	{"/usr/lib/cni/ptp", "containernetworking-plugins"},
	{"/usr/sbin/iptables", "iptables"},
	{"/bin/ip", "iproute2"},
	{"/bin/mount", "mount"},
}

// InstallPackages installs the Debian packages that the machine lacks.
func InstallPackages(ctx context.Context, out *os.File) error {
	var missing []string
	for _, p := range packages {
		if _, err := os.Stat(p.file); err != nil {
			missing = append(missing, p.name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	list := strings.Join(missing, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("the cluster needs the Debian packages %s, and this machine has no apt-get", list)
	}
	fmt.Fprintf(out, "installing Debian packages: %s\n", list)
	for _, args := range [][]string{
		{"update", "-qq"},
		append([]string{"install", "-y", "-qq", "--no-install-recommends"}, missing...),
	} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, output)
		}
	}
	return nil
}
