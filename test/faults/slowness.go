//go:build faults

package faults

import (
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// slowness is how many times longer work takes than on a core of its own, because the machine has other work as well. What is
// waited for may take so much longer: limits are those of a machine that has the time.
var slowness probe

// probe works for a few milliseconds every second and compares the time that this took with the time that it got.
type probe struct{ factor, most atomic.Uint64 }

// now is the factor of the last seconds, from 1.
func (p *probe) now() float64 { return max(math.Float64frombits(p.factor.Load()), 1) }

func (p *probe) worst() float64 { return max(math.Float64frombits(p.most.Load()), 1) }

// watch the machine for ever.
func (p *probe) watch() {
	const work, memory, most = 30 * time.Millisecond, 0.7, 50
	runtime.LockOSThread() // the time that a thread gets can be asked for
	for {
		start, got := time.Now(), threadTime()
		for sum := 0; threadTime()-got < work; {
			for i := range 10_000 {
				sum += i
			}
		}
		factor := min(float64(time.Since(start))/float64(work), most)
		p.factor.Store(math.Float64bits(memory*p.now() + (1-memory)*factor))
		p.most.Store(math.Float64bits(max(p.worst(), p.now())))
		<-time.After(time.Second)
	}
}

// threadTime is the CPU time of the calling thread.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}
