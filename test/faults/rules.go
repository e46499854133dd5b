//go:build faults

package faults

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// points are the ordinals of an operator's writes at which something is to happen, each once.
type points struct {
	mu      sync.Mutex
	pending map[int]bool
	// next is the ordinal of the next write.
	next int
}

// every is the points first, first+stride, ... up to last.
func every(first, stride, last int) *points {
	p := &points{pending: map[int]bool{}, next: 1}
	for n := first; n <= last; n += stride {
		p.pending[n] = true
	}
	return p
}

// at has an effect on the writes at the points. A write that the effect keeps from the API server does not count: its
// ordinal is the next one's.
func at(p *points, e effect) rule {
	return func(c call) *effect {
		if !c.write() {
			return nil
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		hit := p.pending[p.next]
		delete(p.pending, p.next)
		if !hit || !e.cut {
			p.next++
		}
		if hit {
			return &e
		}
		return nil
	}
}

// left is how many points were not reached.
func (p *points) left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pending)
}

// killBefore and killAfter kill an operator before a write reaches the API server, and after it was done but before
// its answer arrives.
func killBefore(o *operator) effect { return effect{before: o.kill, cut: true} }
func killAfter(o *operator) effect  { return effect{after: o.kill, lose: true} }

// lost is a write that is done while its answer is lost.
var lost = effect{lose: true}

// weather makes a share of the requests fail: 10 % of writes are in conflict, 5 % of all requests are throttled, 5 % fail
// with an internal error or time out, half of the timed out ones after they were done.
func weather(seed uint64) rule {
	draw := rand.New(rand.NewPCG(seed, 0))
	return func(c call) *effect {
		if c.resource == "" {
			return nil
		}
		resource := schema.GroupResource{Resource: c.resource}
		dice := draw.Float64()
		switch {
		case dice < 0.05:
			return &effect{refuse: apierrors.NewTooManyRequests("injected", 1)}
		case dice < 0.075:
			return &effect{refuse: internalError()}
		case dice < 0.10:
			timeout := &effect{delay: time.Second, refuse: apierrors.NewTimeoutError("injected", 1)}
			if dice < 0.0875 && c.write() {
				return &effect{lose: true}
			}
			return timeout
		case dice < 0.20 && c.write():
			return &effect{refuse: apierrors.NewConflict(resource, c.name, errInjected)}
		default:
			return nil
		}
	}
}

type injected string

func (i injected) Error() string { return string(i) }

const errInjected = injected("injected")

func internalError() *apierrors.StatusError {
	e := apierrors.NewInternalError(errInjected)
	e.ErrStatus.Code = http.StatusInternalServerError
	return e
}
