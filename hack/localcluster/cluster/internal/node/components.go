package node

import (
	"context"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/keys"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/layout"
)

const etcdAddress = "127.0.0.1:2379"

// step is something that succeeds sooner or later.
type step func(context.Context) error

// component is one process of the cluster, restarted for as long as the cluster runs.
type component struct {
	// name is that of its log and, without a driver command, of its program.
	name string
	// driver is the hidden command of this driver that is the component; empty: a program of its own.
	driver string
	args   []string
	// after must succeed, one by one, before the process is first started; each is tried again until it does.
	after []step
}

// components are the processes of a cluster. Each waits for what it would fail without.
func components(l layout.Layout, s Settings, importPause step) []component {
	kubeconfigOf := func(name string) string { return "--kubeconfig=" + l.Path("conf", name+".kubeconfig") }
	key := func(file string) string { return l.Path("keys", file) }
	etcdReady := func(ctx context.Context) error { return listening(ctx, "tcp", etcdAddress) }
	runtimeReady := func(ctx context.Context) error { return listening(ctx, "unix", RuntimeSocket) }
	apiReady := func(ctx context.Context) error { return apiReady(ctx, l) }
	return []component{
		{name: "etcd", args: []string{
			"--data-dir=" + l.Path("etcd"),
			"--listen-client-urls=http://" + etcdAddress,
			"--advertise-client-urls=http://" + etcdAddress,
			"--listen-peer-urls=http://127.0.0.1:2380",
			// A killed process loses nothing without it; only a machine that loses power would.
			"--unsafe-no-fsync",
		}},
		{name: "containerd", args: []string{"--config=" + l.Path("conf", "containerd.toml")}},
		{
			name:  "kube-apiserver",
			after: []step{etcdReady},
			args: []string{
				"--etcd-servers=http://" + etcdAddress,
				"--bind-address=0.0.0.0",
				"--secure-port=" + strconv.Itoa(layout.APIPort),
				"--advertise-address=" + s.Address(),
				"--service-cluster-ip-range=" + serviceCIDR,
				"--tls-cert-file=" + key(keys.ServerCert),
				"--tls-private-key-file=" + key(keys.ServerKey),
				"--client-ca-file=" + key(keys.AuthorityCert),
				"--token-auth-file=" + key(keys.Tokens),
				"--service-account-issuer=https://kubernetes.default.svc." + ClusterDomain,
				"--service-account-key-file=" + key(keys.AccountsKey),
				"--service-account-signing-key-file=" + key(keys.AccountsKey),
				"--kubelet-client-certificate=" + key(keys.ClientCert),
				"--kubelet-client-key=" + key(keys.ClientKey),
				// How servers of further API groups know that a request comes from the API.
				"--proxy-client-cert-file=" + key(keys.ClientCert),
				"--proxy-client-key-file=" + key(keys.ClientKey),
				"--requestheader-client-ca-file=" + key(keys.AuthorityCert),
				"--requestheader-allowed-names=" + keys.ClientName,
				"--requestheader-username-headers=X-Remote-User",
				"--requestheader-group-headers=X-Remote-Group",
				"--requestheader-extra-headers-prefix=X-Remote-Extra-",
				// The node's name is not to be resolved.
				"--kubelet-preferred-address-types=InternalIP",
				"--authorization-mode=Node,RBAC",
				"--enable-admission-plugins=NodeRestriction",
				"--allow-privileged=true",
				"--audit-policy-file=" + l.Path("conf", "audit.yaml"),
				"--audit-log-path=" + l.Log("audit"),
				"--audit-log-maxsize=100",
				"--audit-log-maxbackup=1",
			},
		},
		{name: "kube-controller-manager", after: []step{apiReady}, args: []string{
			kubeconfigOf("kube-controller-manager"),
			"--bind-address=127.0.0.1",
			"--leader-elect=false",
			"--use-service-account-credentials=true",
			"--service-account-private-key-file=" + key(keys.AccountsKey),
			"--root-ca-file=" + key(keys.AuthorityCert),
			// The default of 20 requests per second makes Jobs wait for the client, not for the cluster.
			"--kube-api-qps=2000",
			"--kube-api-burst=4000",
			"--concurrent-job-syncs=50",
		}},
		{name: "kube-scheduler", after: []step{apiReady}, args: []string{
			kubeconfigOf("kube-scheduler"),
			"--bind-address=127.0.0.1",
			"--leader-elect=false",
		}},
		{name: "kube-proxy", after: []step{apiReady}, args: []string{
			"--config=" + l.Path("conf", "kube-proxy.yaml"),
			"--hostname-override=" + layout.NodeName,
		}},
		{
			name:  "kubelet",
			after: []step{runtimeReady, importPause, apiReady},
			args: []string{
				"--config=" + l.Path("conf", "kubelet.yaml"),
				kubeconfigOf("kubelet"),
				"--hostname-override=" + layout.NodeName,
				"--node-ip=" + s.Address(),
			},
		},
		{name: "device-plugin", driver: "device-plugin", args: []string{"--gpus=" + strconv.Itoa(s.GPUs)}},
		{name: "volumes", driver: "volumes", after: []step{apiReady}, args: []string{
			"--dir=" + l.Dir,
			"--count=" + strconv.Itoa(s.Volumes),
		}},
	}
}

// listening reports whether something accepts connections at the address.
func listening(ctx context.Context, network, address string) error {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// apiReady reports whether the API answers that it is ready. Anonymous users may not ask: it does so as administrator.
func apiReady(ctx context.Context, l layout.Layout) error {
	client, err := Client(l)
	if err != nil {
		return err
	}
	_, err = client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
	return err
}

// command is the component's program and arguments, and the environment in which it finds the programs it runs.
func (c component) command(s Settings) (path string, args, env []string) {
	env = []string{
		"PATH=" + s.Bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root",
	}
	if c.driver != "" {
		// The running executable itself, also when a build has since replaced the file.
		return "/proc/self/exe", append([]string{c.driver}, c.args...), env
	}
	return filepath.Join(s.Bin, c.name), c.args, env
}
