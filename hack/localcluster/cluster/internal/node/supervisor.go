//go:build linux

package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/image"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/layout"
)

// Restarts back off from the first pause to the longest, and start over once a process has run for a while.
const (
	firstPause  = 500 * time.Millisecond
	longestWait = 10 * time.Second
	stableAfter = 30 * time.Second
	poll        = 50 * time.Millisecond
)

// Supervise is the life of a cluster. It is called in the first process of the new namespaces, and waits on start
// until the driver has connected the network: a start that ends early means that the driver died, and the cluster
// with it. It returns only on failure.
func Supervise(ctx context.Context, l layout.Layout, start io.Reader) error {
	if err := lockSupervisor(l); err != nil {
		return err
	}
	if _, err := start.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("the driver ended before the cluster was connected: %w", err)
	}
	s, err := Load(l)
	if err != nil {
		return err
	}
	if err := EnterCgroup(l.Cgroup()); err != nil {
		return err
	}
	if err := isolate(ctx, l, s); err != nil {
		return err
	}
	s.Found.Started = time.Now().Truncate(time.Second)
	if s.Found.Snapshotter, err = snapshotter(l.Dir); err != nil {
		return err
	}
	if err := s.Save(l); err != nil {
		return err
	}
	if err := writeFiles(l, s); err != nil {
		return err
	}
	processes := newReaper()
	importPause := func(ctx context.Context) error { return importPause(ctx, processes, l, s) }
	for _, c := range components(l, s, importPause) {
		go keep(ctx, processes, c, l, s)
	}
	<-ctx.Done()
	return ctx.Err()
}

// keep starts a component once what it needs is there, and again whenever it ends.
func keep(ctx context.Context, processes *reaper, c component, l layout.Layout, s Settings) {
	for _, needed := range c.after {
		patience := time.Now().Add(stableAfter)
		for err := needed(ctx); err != nil; err = needed(ctx) {
			if time.Now().After(patience) {
				log.Printf("%s still waits: %v", c.name, err)
				patience = time.Now().Add(stableAfter)
			}
			time.Sleep(poll)
		}
	}
	pause := firstPause
	for ctx.Err() == nil {
		started := time.Now()
		log.Printf("%s starts", c.name)
		status, err := runComponent(processes, c, l, s)
		if err != nil {
			log.Printf("%s: %v", c.name, err)
		} else {
			log.Printf("%s ended: %s; see %s", c.name, describe(status), l.Log(c.name))
		}
		if time.Since(started) > stableAfter {
			pause = firstPause
		}
		time.Sleep(pause)
		pause = min(2*pause, longestWait)
	}
}

// runComponent runs a component's process to its end, with its output appended to its log.
func runComponent(processes *reaper, c component, l layout.Layout, s Settings) (unix.WaitStatus, error) {
	output, err := os.OpenFile(l.Log(c.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer output.Close()
	path, args, env := c.command(s)
	cmd := exec.Command(path, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.Dir = env, output, output, "/"
	return processes.run(cmd)
}

// importPause hands the pause image to containerd.
func importPause(ctx context.Context, processes *reaper, l layout.Layout, s Settings) error {
	var archive bytes.Buffer
	spec := image.Spec{Name: PauseImage, Binary: filepath.Join(s.Bin, "pause"), Entrypoint: "/pause"}
	if err := spec.Write(&archive); err != nil {
		return err
	}
	file := l.Path("conf", "pause.tar")
	if err := writeFile(file, archive.Bytes(), 0o644); err != nil {
		return err
	}
	output, err := os.OpenFile(l.Log("images"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer output.Close()
	cmd := exec.CommandContext(ctx, filepath.Join(s.Bin, "ctr"), image.ImportArgs(RuntimeSocket, s.Found.Snapshotter, file)...)
	cmd.Stdout, cmd.Stderr = output, output
	status, err := processes.run(cmd)
	if err != nil {
		return err
	}
	if !status.Exited() || status.ExitStatus() != 0 {
		return fmt.Errorf("import of the pause image: %s; see %s", describe(status), l.Log("images"))
	}
	return nil
}

func describe(status unix.WaitStatus) string {
	if status.Signaled() {
		return "signal: " + status.Signal().String()
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}

// ErrNotRunning says that no supervisor holds the cluster's lock.
var ErrNotRunning = errors.New("the cluster is not running")

// supervisorLock is the whole-file write lock that a supervisor holds for life. The kernel drops it with the process
// and knows its holder, so that no recorded process id can go stale or come to mean another process.
func supervisorLock() unix.Flock_t {
	return unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
}

func lockSupervisor(l layout.Layout) error {
	// Never closed: closing any descriptor of the file would drop the lock.
	fd, err := unix.Open(l.Lock(), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return fmt.Errorf("lock of the cluster: %w", err)
	}
	lock := supervisorLock()
	if err := unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &lock); err != nil {
		return fmt.Errorf("another supervisor runs this cluster: %w", err)
	}
	return nil
}

// Supervisor returns the process id of the running cluster's supervisor, as the caller sees it, or ErrNotRunning.
func Supervisor(l layout.Layout) (int, error) {
	file, err := os.OpenFile(l.Lock(), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return 0, ErrNotRunning
	}
	if err != nil {
		return 0, fmt.Errorf("lock of the cluster: %w", err)
	}
	defer file.Close()
	lock := supervisorLock()
	if err := unix.FcntlFlock(file.Fd(), unix.F_GETLK, &lock); err != nil {
		return 0, fmt.Errorf("lock of the cluster: %w", err)
	}
	if lock.Type == unix.F_UNLCK {
		return 0, ErrNotRunning
	}
	return int(lock.Pid), nil
}
