//go:build linux

package node

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/host"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/layout"
)

// Namespaces are the clone flags of a supervisor's process.
const Namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC

// uplink is the cluster's end of the cable to the machine.
const uplink = "eth0"

// isolate makes the new namespaces a node: the folders that the kubelet and containerd insist on are the cluster's
// own, and the cluster's end of the cable has its address.
func isolate(ctx context.Context, l layout.Layout, s Settings) error {
	if err := unix.Sethostname([]byte(layout.NodeName)); err != nil {
		return fmt.Errorf("host name of the node: %w", err)
	}
	// What the machine unmounts goes away here too; what is mounted here is never seen there.
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount of /proc: %w", err)
	}
	for _, dir := range []string{"/run", "/var/lib/cni"} {
		if err := mountOver(dir, "tmpfs", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV); err != nil {
			return err
		}
	}
	// The kubelet's paths for device plugins and container logs cannot be configured.
	for source, dir := range map[string]string{l.Path("kubelet"): "/var/lib/kubelet", l.Path("logs", "node"): "/var/log"} {
		if err := os.MkdirAll(source, 0o755); err != nil {
			return fmt.Errorf("cluster folder: %w", err)
		}
		if err := mountOver(dir, source, "", unix.MS_BIND); err != nil {
			return err
		}
	}
	if err := unix.Mount("", "/var/lib/kubelet", "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount of /var/lib/kubelet: %w", err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("forwarding between pods: %w", err)
	}
	for _, args := range []string{
		"link set lo up",
		"addr replace " + s.Address() + "/30 dev " + uplink,
		"link set " + uplink + " up",
		"route replace default via " + layout.HostAddress(s.Subnet).String(),
	} {
		if err := host.IP(ctx, args); err != nil {
			return err
		}
	}
	return nil
}

func mountOver(dir, source, kind string, flags uintptr) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("mount point: %w", err)
	}
	if err := unix.Mount(source, dir, kind, flags, ""); err != nil {
		return fmt.Errorf("mount of %s: %w", dir, err)
	}
	return nil
}

// snapshotter names the best containerd snapshotter for that folder: overlayfs where its file system can carry one,
// else native, which copies every layer. Its trial mount is seen in the cluster's mount namespace only.
func snapshotter(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("cluster folder: %w", err)
	}
	scratch, err := os.MkdirTemp(dir, "overlay-")
	if err != nil {
		return "", fmt.Errorf("cluster folder: %w", err)
	}
	defer os.RemoveAll(scratch)
	for _, part := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(scratch+"/"+part, 0o755); err != nil {
			return "", fmt.Errorf("cluster folder: %w", err)
		}
	}
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", scratch)
	if unix.Mount("overlay", scratch+"/merged", "overlay", 0, options) != nil {
		return "native", nil
	}
	if err := unix.Unmount(scratch+"/merged", 0); err != nil {
		return "", fmt.Errorf("unmount of a trial overlay: %w", err)
	}
	return "overlayfs", nil
}
