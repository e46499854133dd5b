package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// delays are for how long objects wait of which no plan could be carried out, because the cache is behind or another object has
// the turn at the namespace's room: each time about twice as long as the time before, until one is.
type delays struct {
	mu sync.Mutex
	// next delay of an object.
	next map[string]time.Duration
}

// The least of delays and the most.
const (
	catchUp  = 50 * time.Millisecond
	patience = 64 * catchUp
)

// again is when to plan an object again. Those who come at the same time do not come back at the same time.
func (d *delays) again(o client.Object) ctrl.Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.next == nil {
		d.next = map[string]time.Duration{}
	}
	key := deferralKey(o)
	delay := max(d.next[key], catchUp)
	d.next[key] = min(2*delay, patience)
	return ctrl.Result{RequeueAfter: wait.Jitter(delay, 1)}
}

// over says that a plan was carried out, or that the object is gone.
func (d *delays) over(o client.Object) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.next, deferralKey(o))
}
