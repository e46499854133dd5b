//go:build faults

package faults

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// full is the whole number of every item; without it some take a declared smaller one.
var full = os.Getenv("FAULTS") == "full"

// sized chooses a number by the mode.
func sized[T any](inCI, whole T) T {
	if full {
		return whole
	}
	return inCI
}

// patience is how long a run may take to end, whatever the load of the machine.
const patience = 6 * time.Minute

// shared is the cluster that all items share; each works in namespaces of its own.
var shared *cluster

func TestMain(m *testing.M) {
	code, err := withCluster(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if !report.print() {
		code = 1
	}
	os.Exit(code)
}

func withCluster(run func() int) (code int, err error) {
	logs, err := filepath.Abs("../../.local/test/faults")
	if err != nil {
		return 1, err
	}
	if err := os.RemoveAll(logs); err != nil {
		return 1, err
	}
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return 1, err
	}
	log, err := os.Create(filepath.Join(logs, "test.log"))
	if err != nil {
		return 1, err
	}
	ctrl.SetLogger(logr.FromSlogHandler(slog.NewTextHandler(log, nil)))
	var stop func() error
	shared, stop, err = startCluster(context.Background(), logs)
	stopOnce := sync.OnceValue(stop)
	processes.add(func() { _ = stopOnce() })
	defer func() {
		if stopErr := stopOnce(); err == nil {
			err = stopErr
		}
	}()
	if err != nil {
		return 1, err
	}
	// Nothing is left running after an interruption or a timeout either, which end this process at once.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if timeout, err := time.ParseDuration(flag.Lookup("test.timeout").Value.String()); err == nil && timeout > time.Minute {
		time.AfterFunc(timeout-30*time.Second, func() { signals <- syscall.SIGTERM })
	}
	go func() {
		fmt.Fprintln(os.Stderr, "faults: stopped by", <-signals)
		processes.end()
		os.Exit(130)
	}()
	code = run()
	// Item 20 holds for the objects of all items.
	if err := shared.history.judgeSizes(); err != nil {
		return 1, err
	}
	return code, nil
}

// processes are all that were started: how to end them when this process is ended before its time.
var processes endings

type endings struct {
	mu   sync.Mutex
	ends []func()
}

func (e *endings) add(end func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ends = append(e.ends, end)
}

// end ends everything, the newest first.
func (e *endings) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, end := range slices.Backward(e.ends) {
		end()
	}
}

// undisturbed is a run that nothing disturbs.
type undisturbed struct {
	// end is what it came to.
	end string
	// requests and writes of the operator for it.
	requests, writes int
	// watches are the resources that the operator watched.
	watches []string
	// places of all Jobs, without their attempts.
	places []jobs.Place
	status v1alpha1.AlignmentRunStatus
}

// referenceNamespace begins the names of the namespaces of undisturbed runs.
const referenceNamespace = "undisturbed"

// references by the number of iterations.
var references = map[int32]func(*testing.T) undisturbed{1: reference(1), 3: reference(3)}

// reference is an undisturbed run of some iterations, made once.
func reference(iterations int32) func(*testing.T) undisturbed {
	var once sync.Once
	var u undisturbed
	return func(t *testing.T) undisturbed {
		t.Helper()
		once.Do(func() { u = runUndisturbed(t, iterations) })
		if u.end == "" {
			t.Fatal("there is no undisturbed run to compare with")
		}
		return u
	}
}

func runUndisturbed(t *testing.T, iterations int32) undisturbed {
	t.Helper()
	c, namespace := shared, shared.namespace(t, fmt.Sprintf("%s-%d", referenceNamespace, iterations))
	o := c.operate(t, namespace, []string{namespace})
	run := alignmentRun(namespace, runName, iterations)
	c.create(t, run)
	if err := c.ends(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	if run.Status.Phase != v1alpha1.PhaseSucceeded {
		t.Fatalf("the undisturbed run fails: %+v", run.Status.Conditions)
	}
	if err := c.history.judge(run); err != nil {
		t.Fatal(err)
	}
	end, err := c.end(run)
	if err != nil {
		t.Fatal(err)
	}
	u := undisturbed{end: end, watches: o.proxy.watches(), status: run.Status}
	u.places = c.history.places(run)
	u.requests, u.writes = o.proxy.requests()
	return u
}

// An undisturbed run ends like another: nothing in what is compared depends on names, UIDs or times.
func TestUndisturbed(t *testing.T) {
	t.Parallel()
	u := references[3](t)
	t.Logf("an undisturbed run of 3 iterations takes %d requests, %d of them writes", u.requests, u.writes)
}
