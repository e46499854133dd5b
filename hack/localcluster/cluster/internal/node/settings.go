// Package node runs the cluster: one supervisor, the first process of process, mount, network and host-name
// namespaces of its own, starts every component in them and restarts those that end. When the supervisor dies the
// kernel ends all it started and drops the namespaces with their mounts, interfaces and firewall rules: there is no
// half of a cluster to clean up after, however it died.
package node

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/keys"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/layout"
)

// Settings is what a cluster runs with. A running cluster whose settings differ from those asked for is restarted.
type Settings struct {
	// Bin is the folder of the cluster's programs.
	Bin string `json:"bin"`
	// Driver is the digest of the driver's executable: its components and their configuration come with it.
	Driver string `json:"driver"`
	// Subnet is the /30 network between the machine and the cluster.
	Subnet netip.Prefix `json:"subnet"`
	// GPUs is the number of devices that the node pretends to have.
	GPUs int `json:"gpus"`
	// Volumes is the number of local PersistentVolumes kept ready.
	Volumes int `json:"volumes"`
	// Found is what the supervisor finds out as it starts.
	Found Found `json:"found,omitzero"`
}

// Found is what nobody asks for.
type Found struct {
	// Snapshotter is the containerd snapshotter of images and container file systems.
	Snapshotter string `json:"snapshotter"`
	// Started is when the cluster started: what its API tells of an earlier time is not about it.
	Started time.Time `json:"started"`
}

// Same tells whether both settings ask for the same cluster.
func (s Settings) Same(other Settings) bool {
	s.Found, other.Found = Found{}, Found{}
	return s == other
}

const (
	// RuntimeSocket is where containerd listens in the cluster's mount namespace.
	RuntimeSocket = "/run/containerd/containerd.sock"
	// PauseImage is the image of every pod's first process.
	PauseImage = "docker.io/library/spatialalign-pause:1"
	// DNSService is the address of the Service that pods ask for names.
	DNSService = "10.96.0.10"
	// ClusterDomain is the zone that it knows.
	ClusterDomain = "cluster.local"

	podCIDR     = "10.244.0.0/16"
	serviceCIDR = "10.96.0.0/16"
	apiService  = "10.96.0.1"
)

// Load reads the settings of the cluster last started in the layout's folder.
func Load(l layout.Layout) (Settings, error) {
	var s Settings
	content, err := os.ReadFile(l.Path("cluster.json"))
	if err != nil {
		return s, fmt.Errorf("settings of the cluster: %w", err)
	}
	if err := json.Unmarshal(content, &s); err != nil {
		return s, fmt.Errorf("settings of the cluster: %s: %w", l.Path("cluster.json"), err)
	}
	return s, nil
}

// Save writes the settings for the supervisor, which reads them when it starts.
func (s Settings) Save(l layout.Layout) error {
	content, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("settings of the cluster: %w", err)
	}
	return writeFile(l.Path("cluster.json"), content, 0o644)
}

// Address is the node's address as text.
func (s Settings) Address() string { return layout.NodeAddress(s.Subnet).String() }

// Server is the URL of the API.
func (s Settings) Server() string {
	return "https://" + net.JoinHostPort(s.Address(), strconv.Itoa(layout.APIPort))
}

// identities are the users that components and the administrator are to the API, by kubeconfig name.
var identities = []keys.Identity{
	{Name: "admin", User: "admin", Groups: []string{"system:masters"}},
	{Name: "kube-controller-manager", User: "system:kube-controller-manager"},
	{Name: "kube-scheduler", User: "system:kube-scheduler"},
	{Name: "kube-proxy", User: "system:kube-proxy"},
	{Name: "kubelet", User: "system:node:" + layout.NodeName, Groups: []string{"system:nodes"}},
}
