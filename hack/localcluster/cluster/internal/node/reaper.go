//go:build linux

package node

import (
	"os"
	"os/exec"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// reaper collects every child that ends. The first process of a process namespace inherits orphans, such as the
// containers' shims, which nobody else would collect; so it waits for any child and sorts out its own.
type reaper struct {
	// mu also keeps collection away from a child that is being started.
	mu      sync.Mutex
	running map[int]chan<- unix.WaitStatus
}

func newReaper() *reaper {
	r := &reaper{running: map[int]chan<- unix.WaitStatus{}}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	go func() {
		for range ended {
			r.collect()
		}
	}()
	return r
}

func (r *reaper) collect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if waiting, ours := r.running[pid]; ours {
			waiting <- status
			delete(r.running, pid)
		}
	}
}

// run starts a command whose output goes to files and returns how it ended.
func (r *reaper) run(cmd *exec.Cmd) (unix.WaitStatus, error) {
	status := make(chan unix.WaitStatus, 1)
	r.mu.Lock()
	err := cmd.Start()
	if err == nil {
		r.running[cmd.Process.Pid] = status
	}
	r.mu.Unlock()
	if err != nil {
		return 0, err
	}
	ended := <-status
	return ended, cmd.Process.Release()
}
