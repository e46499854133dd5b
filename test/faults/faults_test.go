//go:build faults

package faults

import (
	"context"
	"errors"
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

// patience is how long a run may take to end.
const patience = 6 * time.Minute

// shared is the cluster that all items share; each works in namespaces of its own.
var shared *cluster

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := withCluster(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if !measures() && !report.print() {
		code = 1
	}
	os.Exit(code)
}

// measures says that benchmarks were asked for: nothing else is to keep the machine busy.
func measures() bool { return flag.Lookup("test.bench").Value.String() != "" }

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
	go slowness.watch()
	for _, r := range references {
		if !measures() {
			go r.make()
		}
	}
	code = run()
	processes.end()
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

// references by the number of iterations. They are made from the beginning on.
var references = map[int32]*reference{1: {iterations: 1}, 3: {iterations: 3}}

// reference is an undisturbed run of some iterations, made once.
type reference struct {
	iterations int32
	once       sync.Once
	run        undisturbed
	err        error
}

// get waits for the run.
func (r *reference) get(t *testing.T) undisturbed {
	t.Helper()
	if r.make(); r.err != nil {
		t.Fatalf("there is no undisturbed run to compare with: %v", r.err)
	}
	return r.run
}

func (r *reference) make() {
	r.once.Do(func() { r.run, r.err = runUndisturbed(context.Background(), r.iterations) })
}

func runUndisturbed(ctx context.Context, iterations int32) (u undisturbed, err error) {
	c, namespace := shared, fmt.Sprintf("%s-%d", referenceNamespace, iterations)
	o, err := c.start(namespace, []string{namespace})
	if err != nil {
		return u, err
	}
	run := alignmentRun(namespace, runName, iterations)
	if err := errors.Join(c.make(ctx, append(namespaceOf(namespace), run)...), c.ends(ctx, run)); err != nil {
		return u, err
	}
	if run.Status.Phase != v1alpha1.PhaseSucceeded {
		return u, fmt.Errorf("the undisturbed run fails: %+v", run.Status.Conditions)
	}
	if err := errors.Join(c.settled(ctx, run), c.history.judge(run)); err != nil {
		return u, err
	}
	end, err := c.end(run)
	u = undisturbed{end: end, watches: o.proxy.watches(), places: c.history.places(run), status: run.Status}
	u.requests, u.writes = o.proxy.requests()
	return u, err
}

// An undisturbed run is charged for the time that its pods held GPUs, to the second, and asks little of the API server.
func TestUndisturbed(t *testing.T) {
	t.Parallel()
	u := references[3].get(t)
	t.Logf("an undisturbed run of 3 iterations takes %d requests, %d of them writes", u.requests, u.writes)
}
