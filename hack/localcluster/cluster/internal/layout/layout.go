// Package layout names what a local cluster keeps and where: everything is derived from the cluster's folder, so that
// clusters of two checkouts never share a path, an address, an interface or a cgroup.
package layout

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// NodeName is the name of the cluster's only node.
const NodeName = "node0"

// APIPort is the TCP port of the Kubernetes API on the node's address.
const APIPort = 6443

// Layout is one cluster's place on the machine.
type Layout struct {
	// Dir is the cluster's folder: absolute, with no symbolic link in the part that exists.
	Dir string
	// ID is eight hexadecimal digits derived from Dir.
	ID string
}

// New returns the layout of the cluster in dir. It refuses folders under those that the cluster replaces in its own
// mount namespace, where the cluster could not see its own files.
func New(dir string) (Layout, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Layout{}, fmt.Errorf("cluster folder %q: %w", dir, err)
	}
	abs = resolve(abs)
	for _, hidden := range []string{"/run", "/proc", "/var/log", "/var/lib/kubelet", "/var/lib/cni"} {
		if abs == hidden || strings.HasPrefix(abs, hidden+"/") {
			return Layout{}, fmt.Errorf("cluster folder %s: the cluster mounts its own %s; choose a --dir elsewhere", abs, hidden)
		}
	}
	sum := sha256.Sum256([]byte(abs))
	return Layout{Dir: abs, ID: hex.EncodeToString(sum[:4])}, nil
}

// resolve follows the symbolic links of the longest part of path that exists.
func resolve(path string) string {
	rest := ""
	for at := path; ; at = filepath.Dir(at) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest)
		}
		if at == filepath.Dir(at) {
			return path
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}

// Path joins names to the cluster's folder.
func (l Layout) Path(names ...string) string {
	return filepath.Join(append([]string{l.Dir}, names...)...)
}

// Kubeconfig is the administrator's kubeconfig file.
func (l Layout) Kubeconfig() string { return l.Path("kubeconfig") }

// Log is the log file of one component.
func (l Layout) Log(component string) string { return l.Path("logs", component+".log") }

// Volume is the folder behind the local PersistentVolume of that number.
func (l Layout) Volume(index int) string { return l.Path("volumes", fmt.Sprintf("local-%d", index)) }

// Cgroup is the name of the cluster's control group at the root of each hierarchy.
func (l Layout) Cgroup() string { return "spatialalign-" + l.ID }

// Link is the name of the host's end of the cable into the cluster; an interface name has at most 15 bytes.
func (l Layout) Link() string { return "sa" + l.ID }

// Subnet returns the attempt-th candidate of the cluster's /30 network: a place in 10.199.0.0/16 given by the
// cluster's folder, then the ones after it.
func (l Layout) Subnet(attempt int) netip.Prefix {
	sum := sha256.Sum256([]byte(l.Dir))
	const subnets = 1 << 14
	slot := (int(binary.BigEndian.Uint16(sum[4:])) + attempt) % subnets
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 199, byte(slot >> 6), byte(slot << 2)}), 30)
}

// HostAddress is the machine's own address in the cluster's subnet.
func HostAddress(subnet netip.Prefix) netip.Addr { return subnet.Addr().Next() }

// NodeAddress is the address of the cluster in its subnet: that of the API and of the node.
func NodeAddress(subnet netip.Prefix) netip.Addr { return HostAddress(subnet).Next() }

// What a cluster creates in its folder. Data, and the keys that it was made with, survive `down --keep-data`; so does
// the lock file, which marks the folder as a cluster's. It goes last.
var (
	contents = []string{"cluster.json", "kubeconfig", "conf", "logs"}
	data     = []string{"keys", "etcd", "containerd", "kubelet", "volumes", lockName}
)

const lockName = "supervisor.lock"

// Lock is the file that the cluster's supervisor locks for as long as it lives.
func (l Layout) Lock() string { return l.Path(lockName) }

// Claim makes the folder a cluster's, if it is not one yet. It refuses a folder with other contents: what they are
// called may be what a cluster would overwrite, and delete in the end.
func (l Layout) Claim() error {
	if err := os.MkdirAll(l.Dir, 0o755); err != nil {
		return fmt.Errorf("cluster folder: %w", err)
	}
	if _, err := os.Stat(l.Lock()); err == nil {
		return nil
	}
	entries, err := os.ReadDir(l.Dir)
	if err != nil {
		return fmt.Errorf("cluster folder: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is no cluster's folder, and not empty (%s is in it); choose another --dir", l.Dir, entries[0].Name())
	}
	if err := os.WriteFile(l.Lock(), nil, 0o644); err != nil {
		return fmt.Errorf("cluster folder: %w", err)
	}
	return nil
}

// Remove deletes what the cluster created in its folder, and the folder itself once empty; foreign files stay.
// With keepData it leaves the API's objects, the images and the volumes.
func (l Layout) Remove(keepData bool) error {
	names := contents
	if !keepData {
		names = append(append([]string{}, contents...), data...)
	}
	for _, name := range names {
		if err := os.RemoveAll(l.Path(name)); err != nil {
			return fmt.Errorf("cluster folder: %w", err)
		}
	}
	if !keepData {
		// Fails when something foreign is in there, which is its owner's.
		_ = os.Remove(l.Dir)
	}
	return nil
}

// FindCheckout returns the root of the checkout that holds dir: the nearest folder at or above it with this driver's
// sources below.
func FindCheckout(dir string) (string, error) {
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "hack/localcluster/go.mod")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%s is in no checkout of the operator (no hack/localcluster/go.mod at or above it)", dir)
		}
	}
}
