package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/addons"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/host"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/image"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/layout"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/node"
)

type upOptions struct {
	gpus, volumes int
	kueue         bool
	addons        addons.Options
}

// wanted are the addons to install, the first ones first.
func (o upOptions) wanted() []addons.Addon {
	wanted := []addons.Addon{addons.DNS}
	if o.kueue {
		wanted = append(wanted, addons.Kueue)
	}
	if o.addons.FakeNodes > 0 {
		wanted = append(wanted, addons.Kwok)
	}
	return wanted
}

// up brings the cluster to the wanted settings from whatever state an earlier driver left it in.
func up(ctx context.Context, checkout string, l layout.Layout, o upOptions) error {
	if err := host.Check(); err != nil {
		return fmt.Errorf("this machine cannot run the local cluster: %w.\nUse kind or minikube instead, and install the chart there (docs/install.md)", err)
	}
	if err := host.InstallPackages(ctx, os.Stderr); err != nil {
		return err
	}
	bin, err := buildAll(ctx, checkout, o.wanted())
	if err != nil {
		return err
	}
	unlock, err := lock(l)
	if err != nil {
		return err
	}
	defer unlock()
	driver, err := driverDigest()
	if err != nil {
		return err
	}
	subnet, err := host.FreeSubnet(l)
	if err != nil {
		return err
	}
	want := node.Settings{Bin: bin, Driver: driver, Subnet: subnet, GPUs: o.gpus, Volumes: o.volumes}
	start := time.Now()
	switch _, err := node.Supervisor(l); {
	case errors.Is(err, node.ErrNotRunning):
		if err := startCluster(ctx, l, want); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		have, err := node.Load(l)
		if err == nil && have.Same(want) {
			break
		}
		fmt.Fprintln(os.Stderr, "restarting the cluster with new settings or programs")
		if err := stopCluster(ctx, l); err != nil {
			return err
		}
		if err := startCluster(ctx, l, want); err != nil {
			return err
		}
	}
	if err := waitFor(ctx, l, lacksAPI, lacksRuntime); err != nil {
		return err
	}
	for _, a := range o.wanted() {
		if err := install(ctx, checkout, l, a, o.addons); err != nil {
			return err
		}
	}
	if err := waitFor(ctx, l, lacksAnything); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "cluster ready in %.1f s: %s, kubeconfig %s\n", time.Since(start).Seconds(), want.Server(), l.Kubeconfig())
	return nil
}

// down ends the cluster and removes what it leaves: cgroups and files.
func down(ctx context.Context, l layout.Layout, keepData bool) error {
	if _, err := os.Stat(l.Dir); errors.Is(err, os.ErrNotExist) {
		fmt.Fprintln(os.Stderr, "no cluster in", l.Dir)
		return nil
	}
	unlock, err := lock(l)
	if err != nil {
		return err
	}
	defer unlock()
	if err := stopCluster(ctx, l); err != nil {
		return err
	}
	if err := l.Remove(keepData); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "cluster stopped:", l.Dir)
	return nil
}

// lock keeps other drivers from the cluster's folder until the returned function is called.
func lock(l layout.Layout) (func(), error) {
	if err := l.Claim(); err != nil {
		return nil, err
	}
	folder, err := os.Open(l.Dir)
	if err != nil {
		return nil, fmt.Errorf("cluster folder: %w", err)
	}
	if unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		fmt.Fprintln(os.Stderr, "waiting for another localcluster command on", l.Dir)
		if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX); err != nil {
			return nil, fmt.Errorf("lock of %s: %w", l.Dir, err)
		}
	}
	return func() { _ = folder.Close() }, nil
}

// startCluster starts the supervisor in its namespaces, lays the cable to it and lets it go. If this process dies on the
// way, the supervisor's input ends and so does the supervisor.
func startCluster(ctx context.Context, l layout.Layout, s node.Settings) error {
	if err := node.RemoveCgroup(l.Cgroup()); err != nil {
		return err
	}
	if err := s.Save(l); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(l.Log("supervisor")), 0o755); err != nil {
		return fmt.Errorf("cluster folder: %w", err)
	}
	output, err := os.OpenFile(l.Log("supervisor"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("cluster folder: %w", err)
	}
	defer output.Close()
	supervisor := exec.Command("/proc/self/exe", "supervise", "--dir", l.Dir)
	supervisor.Dir = "/"
	supervisor.Stdout, supervisor.Stderr = output, output
	supervisor.SysProcAttr = &syscall.SysProcAttr{Cloneflags: node.Namespaces, Setsid: true}
	start, err := supervisor.StdinPipe()
	if err != nil {
		return fmt.Errorf("start of the cluster: %w", err)
	}
	defer start.Close()
	if err := supervisor.Start(); err != nil {
		return fmt.Errorf("start of the cluster: %w", err)
	}
	if err := host.Connect(ctx, l, s.Subnet, supervisor.Process.Pid); err != nil {
		return err
	}
	if _, err := io.WriteString(start, "\n"); err != nil {
		return fmt.Errorf("start of the cluster: %w\n%s", err, logTail(l, "supervisor"))
	}
	return supervisor.Process.Release()
}

// stopCluster kills the supervisor, and with it everything in its namespaces, and waits until all is gone.
func stopCluster(ctx context.Context, l layout.Layout) error {
	pid, err := node.Supervisor(l)
	if err == nil {
		err = killSupervisor(l, pid)
	}
	if err != nil && !errors.Is(err, node.ErrNotRunning) {
		return err
	}
	if err := host.Disconnect(ctx, l); err != nil {
		return err
	}
	return node.RemoveCgroup(l.Cgroup())
}

func killSupervisor(l layout.Layout, pid int) error {
	process, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("supervisor %d: %w", pid, err)
	}
	defer unix.Close(process)
	// Asked again: the process held is still the one that has the lock.
	if again, err := node.Supervisor(l); err != nil || again != pid {
		return err
	}
	if err := unix.PidfdSendSignal(process, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("supervisor %d: %w", pid, err)
	}
	const patience = 30 * time.Second
	for end := time.Now().Add(patience); time.Now().Before(end); {
		// Readable once the process, and before it every other of its namespace, has ended.
		ended, err := unix.Poll([]unix.PollFd{{Fd: int32(process), Events: unix.POLLIN}}, 1000)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("supervisor %d: %w", pid, err)
		}
		if ended > 0 {
			return nil
		}
	}
	return fmt.Errorf("supervisor %d has not ended %v after it was killed", pid, patience)
}

// running returns the settings of the running cluster.
func running(l layout.Layout) (node.Settings, error) {
	if _, err := node.Supervisor(l); err != nil {
		return node.Settings{}, fmt.Errorf("%s: %w (start it with `make cluster-up`)", l.Dir, err)
	}
	return node.Load(l)
}

// runtimeSocket is containerd's, which is in the supervisor's mount namespace, as this process sees it.
func runtimeSocket(l layout.Layout) (string, error) {
	pid, err := node.Supervisor(l)
	return filepath.Join("/proc", strconv.Itoa(pid), "root", node.RuntimeSocket), err
}

// loadImage makes an image and imports it.
func loadImage(ctx context.Context, l layout.Layout, spec image.Spec) error {
	s, err := running(l)
	if err != nil {
		return err
	}
	socket, err := runtimeSocket(l)
	if err != nil {
		return err
	}
	archive, err := os.CreateTemp("", "localcluster-image-*.tar")
	if err != nil {
		return fmt.Errorf("image %s: %w", spec.Name, err)
	}
	defer os.Remove(archive.Name())
	if err := errors.Join(spec.Write(archive), archive.Close()); err != nil {
		return err
	}
	ctr := exec.CommandContext(ctx, filepath.Join(s.Bin, "ctr"), image.ImportArgs(socket, s.Found.Snapshotter, archive.Name())...)
	if output, err := ctr.CombinedOutput(); err != nil {
		return fmt.Errorf("image %s: import: %w\n%s", spec.Name, err, output)
	}
	return nil
}

// driverDigest identifies this executable.
func driverDigest() (string, error) {
	file, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", fmt.Errorf("digest of the driver: %w", err)
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", fmt.Errorf("digest of the driver: %w", err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
