package controllers

import (
	"sync"
	"time"
)

// effort is how long a status write takes of late: what the API server has to do, as far as it can be told from here.
type effort struct {
	mu     sync.Mutex
	lately time.Duration
}

// took counts one more write.
func (e *effort) took(d time.Duration) {
	const of = 8 // writes that count, or about
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lately += (d - e.lately) / of
}

// pause is how long to wait between two writes of an object, so that a hundredth of the time at most goes into them: an API server
// that has too much to do is not asked for what may wait.
func (e *effort) pause() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return 100 * e.lately
}
