//go:build faults

package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// operator is a real operator process that works through a proxy of its own, and is started again whenever it ends.
type operator struct {
	proxy *proxy
	log   string

	mu sync.Mutex
	// life is the process that lives now.
	life *exec.Cmd
	// ended is closed when life has ended.
	ended chan struct{}
	// doomed says that life was asked to end.
	doomed, retired bool
	// deaths that nobody asked for.
	deaths []string
	closed chan struct{}
}

const binary = "../../bin/spatialalign"

// operate starts an operator that ends with the test, which fails if the operator ever ended or panicked of its own accord.
func (c *cluster) operate(t *testing.T, name string, namespaces []string, flags ...string) *operator {
	t.Helper()
	o, err := c.start(name, namespaces, flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.retire(t) })
	return o
}

// start starts an operator for namespaces of this cluster, with further flags.
func (c *cluster) start(name string, namespaces []string, flags ...string) (*operator, error) {
	p, err := newProxy(c.admin)
	if err != nil {
		return nil, err
	}
	o := &operator{proxy: p, log: filepath.Join(c.logs, name+".log"), closed: make(chan struct{})}
	kubeconfig := filepath.Join(c.logs, name+".kubeconfig")
	if err := os.WriteFile(kubeconfig, fmt.Appendf(nil, kubeconfigFormat, p.server.URL), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(o.log)
	if err != nil {
		return nil, err
	}
	args := append([]string{
		"manager", "--namespaces=" + strings.Join(namespaces, ","), "--stage-image=operator:1",
		"--metrics-bind-address=0", "--health-probe-bind-address=0",
	}, flags...)
	start := func() error {
		cmd := exec.Command(binary, args...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "POD_NAMESPACE="+namespaces[0])
		cmd.Stdout, cmd.Stderr = log, log
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.retired {
			return errRetired
		}
		o.life, o.ended, o.doomed = cmd, make(chan struct{}), false
		return cmd.Start()
	}
	if err := start(); err != nil {
		return nil, fmt.Errorf("start %s (make test-faults builds it): %w", binary, err)
	}
	go o.supervise(start)
	processes.add(o.end)
	return o, nil
}

const errRetired = injected("the operator is retired")

const kubeconfigFormat = `apiVersion: v1
kind: Config
current-context: proxy
contexts: [{name: proxy, context: {cluster: proxy, user: proxy}}]
clusters: [{name: proxy, cluster: {server: %q}}]
users: [{name: proxy, user: {}}]
`

// supervise starts the operator again whenever it ends.
func (o *operator) supervise(start func() error) {
	defer close(o.closed)
	for {
		err := o.life.Wait()
		o.mu.Lock()
		switch {
		case o.doomed:
		case o.proxy.starved():
			report.count(5, "leaders that a starved machine kept from renewing their lease")
		default:
			o.deaths = append(o.deaths, fmt.Sprint(err))
		}
		close(o.ended)
		o.mu.Unlock()
		if err := start(); err != nil {
			return
		}
	}
}

// kill ends the operator's life at once, as kill -9 does; the next one begins.
func (o *operator) kill() { o.signal(syscall.SIGKILL, true) }

// stop freezes the operator and resume thaws it, as SIGSTOP and SIGCONT do. One that resumes may end because it no longer leads.
func (o *operator) stop()   { o.signal(syscall.SIGSTOP, false) }
func (o *operator) resume() { o.signal(syscall.SIGCONT, true) }

func (o *operator) signal(s os.Signal, dooms bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.doomed = o.doomed || dooms
	_ = o.life.Process.Signal(s) // one that has ended already is as good as killed
}

// wrote waits until the operator has asked for so many writes.
func (o *operator) wrote(t *testing.T, n int) error {
	t.Helper()
	return eventually(t.Context(), patience, fmt.Sprintf("%d writes", n), func() bool {
		_, writes := o.proxy.requests()
		return writes >= n
	})
}

// end ends the operator for good.
func (o *operator) end() {
	o.mu.Lock()
	o.retired = true
	o.mu.Unlock()
	o.kill()
	<-o.closed
}

// retire ends the operator for good, and fails the test if it ever ended or panicked of its own accord.
func (o *operator) retire(t *testing.T) {
	o.end()
	o.proxy.server.CloseClientConnections()
	for _, death := range o.deaths {
		t.Errorf("the operator ended of its own accord: %s; the end of %s:\n%s", death, o.log, o.last())
	}
	if n := o.panics(); n > 0 {
		t.Errorf("the operator panicked %d times; see %s", n, o.log)
	}
}

// last are the last lines of the operator's log.
func (o *operator) last() string {
	data, err := os.ReadFile(o.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// panics counts the panics that the operator's log tells of, recovered ones too.
func (o *operator) panics() int {
	data, err := os.ReadFile(o.log)
	if err != nil {
		return 1
	}
	return strings.Count(string(data), "Observed a panic") + strings.Count(string(data), "\npanic: ") + strings.Count(string(data), "\nfatal error: ")
}
