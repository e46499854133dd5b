//go:build quota

package quota

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"

	"github.com/spatialalign/operator/controllers"
)

// podWatch counts the GPUs of pods that have a node and have not ended: after every change that the API server tells, and in
// samples of all pods.
type podWatch struct {
	mu sync.Mutex
	// holding GPUs now, by pod; seen are all GPU pods.
	holding map[types.UID]int64
	seen    map[types.UID]bool
	// peak of GPUs at the same time, over so many changes and samples.
	peak             int64
	changes, samples int
}

// watchPods watches the pods of some namespaces until the end of the test.
func (c cluster) watchPods(namespaces []string) *podWatch {
	c.Helper()
	kube, err := config.GetConfig()
	if err != nil {
		c.Fatal(err)
	}
	own := map[string]cache.Config{}
	for _, n := range namespaces {
		own[n] = cache.Config{}
	}
	watched, err := cache.New(kube, cache.Options{Scheme: controllers.Scheme(), DefaultNamespaces: own})
	if err != nil {
		c.Fatal(err)
	}
	informer, err := watched.GetInformer(c.Context(), &corev1.Pod{}, cache.BlockUntilSynced(false))
	if err != nil {
		c.Fatal(err)
	}
	w := &podWatch{holding: map[types.UID]int64{}, seen: map[types.UID]bool{}}
	if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: w.changed, UpdateFunc: func(_, pod any) { w.changed(pod) }, DeleteFunc: w.gone,
	}); err != nil {
		c.Fatal(err)
	}
	go func() { _ = watched.Start(c.Context()) }()
	if !watched.WaitForCacheSync(c.Context()) {
		c.Fatal("pods cannot be watched")
	}
	go c.countGPUs(w, namespaces)
	return w
}

func (w *podWatch) changed(o any) {
	pod := o.(*corev1.Pod)
	w.mu.Lock()
	defer w.mu.Unlock()
	n := holds(pod)
	w.holding[pod.UID] = n
	if n > 0 {
		w.seen[pod.UID] = true
	}
	w.changes++
	total := int64(0)
	for _, n := range w.holding {
		total += n
	}
	w.peak = max(w.peak, total)
}

func (w *podWatch) gone(o any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = last.Obj
	}
	delete(w.holding, o.(*corev1.Pod).UID)
}

// holds is how many GPUs a pod has: from its binding to its end.
func holds(pod *corev1.Pod) int64 {
	if pod.Spec.NodeName == "" || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return 0
	}
	return podGPUs(pod)
}

// countGPUs reads all pods of the namespaces every second.
func (c cluster) countGPUs(w *podWatch, namespaces []string) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		total := int64(0)
		for _, namespace := range namespaces {
			var list corev1.PodList
			if err := c.List(c.Context(), &list, client.InNamespace(namespace)); err != nil {
				return // the test is over
			}
			for i := range list.Items {
				total += holds(&list.Items[i])
			}
		}
		w.mu.Lock()
		w.peak = max(w.peak, total)
		w.samples++
		w.mu.Unlock()
		select {
		case <-tick.C:
		case <-c.Context().Done():
			return
		}
	}
}

// told shows what was watched.
func (w *podWatch) told() (peak int64, pods, changes, samples int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.peak, len(w.seen), w.changes, w.samples
}

// apiWrites are requests of the operator by what they did: "create jobs", "update alignmentruns/status".
type apiWrites map[string]int

// writes are those to objects of some namespaces, since a time, that the API server answered with success or failure.
func (c cluster) writes(namespaces []string, since time.Time) apiWrites {
	c.Helper()
	log, err := os.Open(filepath.Join(filepath.Dir(os.Getenv("KUBECONFIG")), "logs", "audit.log"))
	if err != nil {
		c.Fatalf("the local cluster's log of what the operator writes: %v", err)
	}
	defer func() { _ = log.Close() }()
	found := apiWrites{}
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var request struct {
			Verb           string
			StageTimestamp time.Time
			ObjectRef      struct{ Resource, Subresource, Namespace string }
		}
		if err := json.Unmarshal(lines.Bytes(), &request); err != nil {
			c.Fatal(err)
		}
		if at := request.ObjectRef; slices.Contains(namespaces, at.Namespace) && !request.StageTimestamp.Before(since) {
			found[request.Verb+" "+strings.TrimSuffix(at.Resource+"/"+at.Subresource, "/")]++
		}
	}
	if err := lines.Err(); err != nil {
		c.Fatal(err)
	}
	return found
}

func (w apiWrites) total() (n int) {
	for _, of := range w {
		n += of
	}
	return n
}

// perRun tells them by kind, for so many runs.
func (w apiWrites) perRun(runs int) string {
	var list []string
	for _, kind := range slices.Sorted(maps.Keys(w)) {
		list = append(list, fmt.Sprintf("%s %.2f", kind, float64(w[kind])/float64(runs)))
	}
	return strings.Join(list, ", ")
}
