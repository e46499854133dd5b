//go:build faults

package faults

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// BenchmarkLoop measures what the loop costs: so many runs of one iteration at the same time, against a bare program that
// creates the same Jobs, each as soon as those before it are complete, which is the limit of the Job API here. Stages take no
// time. Figures are for five Jobs, as docs/benchmarks.md compares them with other systems.
func BenchmarkLoop(b *testing.B) {
	for _, n := range []int{1, 100, 500} {
		b.Run(fmt.Sprintf("runs=%d", n), func(b *testing.B) {
			for range b.N {
				namespace := fmt.Sprintf("load-%d-%d", n, time.Now().UnixNano())
				ours, pattern := runLoop(b, namespace, n)
				floor := runFloor(b, namespace, n, pattern)
				for name, value := range ours.figures {
					b.ReportMetric(value, name)
				}
				b.ReportMetric(ours.wall.Seconds(), "wall-s")
				b.ReportMetric(floor.wall.Seconds(), "floor-wall-s")
				b.ReportMetric(ours.wall.Seconds()/floor.wall.Seconds(), "wall/floor")
				b.ReportMetric(floor.figures["WAL-kB/5jobs"], "floor-WAL-kB/5jobs")
				b.ReportMetric(floor.figures["gap-p50-ms"], "floor-gap-p50-ms")
				b.ReportMetric(floor.figures["gap-p99-ms"], "floor-gap-p99-ms")
			}
			b.ReportMetric(0, "ns/op") // the figures above say more
		})
	}
}

// measured is what a load took.
type measured struct {
	wall    time.Duration
	figures map[string]float64
}

// runLoop has the operator carry n runs out. pattern are the Jobs of one of them.
func runLoop(b *testing.B, namespace string, n int) (m measured, pattern map[step]*batchv1.Job) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	if err := shared.make(ctx, namespaceOf(namespace)...); err != nil {
		b.Fatal(err)
	}
	watch, err := watchJobs(ctx, shared.informers, namespace, nil)
	if err != nil {
		b.Fatal(err)
	}
	o, err := shared.startAlone(ctx, namespace)
	if err != nil {
		b.Fatal(err)
	}
	defer o.end()
	warm := alignmentRun(namespace, "warm", 1) // the operator's caches are filled when it has ended
	if err := shared.make(ctx, warm); err != nil {
		b.Fatal(err)
	}
	if err := shared.ends(ctx, warm); err != nil {
		b.Fatal(err)
	}
	warmed := len(watch.jobs)
	requests, err := o.requests(ctx)
	if err != nil {
		b.Fatal(err)
	}
	processor, wal := processorSeconds(b, o.Process.Pid), walBytes(b)

	runs := make([]*v1alpha1.AlignmentRun, n)
	start := time.Now()
	var all errgroup.Group
	all.SetLimit(n)
	for i := range runs {
		runs[i] = alignmentRun(namespace, fmt.Sprintf("run-%04d", i), 1)
		all.Go(func() error {
			if err := shared.Create(ctx, runs[i]); err != nil {
				return err
			}
			return shared.ends(ctx, runs[i])
		})
	}
	if err := all.Wait(); err != nil {
		b.Fatal(err)
	}
	m.wall = time.Since(start)
	asked, err := o.requests(ctx)
	if err != nil {
		b.Fatal(err)
	}
	gaps, err := watch.gaps()
	if err != nil {
		b.Fatal(err)
	}
	created := float64(len(watch.jobs)-warmed) / 5
	m.figures = map[string]float64{
		"gap-p50-ms": quantile(gaps, 0.5), "gap-p99-ms": quantile(gaps, 0.99),
		"CPU-ms/5jobs":   1000 * (processorSeconds(b, o.Process.Pid) - processor) / created,
		"requests/5jobs": (asked - requests) / created,
		"WAL-kB/5jobs":   (walBytes(b) - wal) / 1000 / created,
		"RSS-MiB":        residentMiB(b, o.Process.Pid),
		"jobs/run":       created * 5 / float64(n),
	}
	pattern = map[step]*batchv1.Job{}
	for _, job := range watch.jobs {
		if run, at := watch.stepOf(job); run == runs[0].UID {
			pattern[at] = job
		}
	}
	return m, pattern
}

// runFloor creates the Jobs of n runs without any operator.
func runFloor(b *testing.B, namespace string, n int, pattern map[step]*batchv1.Job) (m measured) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	namespace += "-floor"
	if err := shared.make(ctx, namespaceOf(namespace)...); err != nil {
		b.Fatal(err)
	}
	type place struct {
		run int
		at  step
	}
	var (
		mu   sync.Mutex
		done = map[place]time.Time{}
		gaps []time.Duration
		left = n * len(pattern)
		end  = make(chan struct{})
		work errgroup.Group
	)
	begin := func(p place, ready time.Time) {
		work.Go(func() error {
			job := copyOf(pattern[p.at], namespace, p.run, p.at)
			if err := shared.Create(ctx, job); err != nil {
				b.Error(err)
				return err
			}
			if !ready.IsZero() {
				mu.Lock()
				gaps = append(gaps, time.Since(ready))
				mu.Unlock()
			}
			return nil
		})
	}
	// completed begins every step for which this was the last to wait for.
	completed := func(job *batchv1.Job) {
		run, at := int(number(job.Labels[floorRun])), step{int32(number(job.Labels[floorIteration])), v1alpha1.StageName(job.Labels[floorStep])}
		now := time.Now()
		mu.Lock()
		defer mu.Unlock()
		done[place{run, at}] = now
		for next, before := range after {
			waits, last := false, false
			for _, s := range before {
				_, complete := done[place{run, s}]
				waits, last = waits || !complete, last || s == at
			}
			if last && !waits {
				begin(place{run, next}, now)
			}
		}
		if left--; left == 0 {
			close(end)
		}
	}
	if _, err := watchJobs(ctx, shared.informers, namespace, completed); err != nil {
		b.Fatal(err)
	}
	wal, start := walBytes(b), time.Now()
	for i := range n {
		begin(place{i, step{0, v1alpha1.StagePrepare}}, time.Time{})
	}
	select {
	case <-end:
	case <-time.After(patience * 2):
		b.Fatalf("%d Jobs are not complete", left)
	}
	m.wall = time.Since(start)
	if err := work.Wait(); err != nil {
		b.Fatal(err)
	}
	m.figures = map[string]float64{
		"gap-p50-ms": quantile(sorted(gaps), 0.5), "gap-p99-ms": quantile(gaps, 0.99),
		"WAL-kB/5jobs": (walBytes(b) - wal) / 1000 / (float64(n*len(pattern)) / 5),
	}
	return m
}

// Labels of the floor's Jobs: which run and step they stand for.
const (
	floorRun       = "floor-run"
	floorIteration = "floor-iteration"
	floorStep      = "floor-step"
)

// copyOf is a Job of the same work that nobody owns.
func copyOf(job *batchv1.Job, namespace string, run int, at step) *batchv1.Job {
	again := job.DeepCopy()
	again.ObjectMeta = metav1.ObjectMeta{
		Namespace: namespace, Name: fmt.Sprintf("floor-%04d-%d-%s", run, at.iteration, strings.ToLower(string(at.stage))),
		Labels: again.Labels, Annotations: again.Annotations,
	}
	again.Labels[floorRun], again.Labels[floorIteration], again.Labels[floorStep] = strconv.Itoa(run), strconv.Itoa(int(at.iteration)), string(at.stage)
	again.Status, again.Spec.Selector = batchv1.JobStatus{}, nil
	for _, label := range []string{batchv1.ControllerUidLabel, batchv1.JobNameLabel, "controller-uid", "job-name"} {
		delete(again.Spec.Template.Labels, label)
	}
	return again
}

// sorted durations, in place.
func sorted(d []time.Duration) []time.Duration {
	slices.Sort(d)
	return d
}

// quantile of sorted durations, in milliseconds.
func quantile(d []time.Duration, q float64) float64 {
	if len(d) == 0 {
		return 0
	}
	at := int(math.Ceil(q*float64(len(d)))) - 1
	return float64(d[max(at, 0)].Microseconds()) / 1000
}

// processorSeconds is what a process has had of all processors.
func processorSeconds(b *testing.B, pid int) float64 {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	ticks := 0
	for _, at := range []int{11, 12} { // in user mode, in the kernel
		n, err := strconv.Atoi(fields[at])
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return float64(ticks) / 100
}

// residentMiB is the most memory that a process has had.
func residentMiB(b *testing.B, pid int) float64 {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	var kib float64
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		b.Fatal(err)
	}
	return kib / 1024
}

// walBytes is what etcd has written to its log.
func walBytes(b *testing.B) float64 {
	b.Helper()
	res, err := http.Get(shared.etcd + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	n, err := sumOf(bufio.NewScanner(res.Body), "etcd_disk_wal_write_bytes_total ")
	if err != nil {
		b.Fatal(err)
	}
	return n
}
