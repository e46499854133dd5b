package gang_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spatialalign/operator/worker/synthetic/gang"
)

// config of the pods of one gang, on a port of its own.
func config(t *testing.T, size int) gang.Config {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return gang.Config{Size: size, Address: listener.Addr().String(), Key: "sha256:spec/0", Silence: 5 * time.Second, Beat: func() {}}
}

// together runs what every pod does, and gives their errors by rank.
func together(t *testing.T, c gang.Config, do func(*gang.Gang) error) []error {
	t.Helper()
	errs := make([]error, c.Size)
	var wait sync.WaitGroup
	for rank := range c.Size {
		own := c
		own.Rank = rank
		wait.Go(func() {
			g, err := gang.Join(t.Context(), own)
			if err != nil {
				errs[rank] = err
				return
			}
			defer g.Close()
			errs[rank] = do(g)
		})
	}
	wait.Wait()
	return errs
}

func TestExchange(t *testing.T) {
	errs := together(t, config(t, 3), func(g *gang.Gang) error {
		for round := range 3 {
			all, err := g.Gather([]byte(fmt.Sprintf("%d of %d in round %d", g.Rank(), g.Size(), round)))
			if err != nil {
				return err
			}
			var sum []byte
			for rank, said := range all {
				if want := fmt.Sprintf("%d of 3 in round %d", rank, round); string(said) != want {
					return fmt.Errorf("rank %d said %q, want %q", rank, said, want)
				}
				sum = append(sum, said...)
			}
			if got, err := g.Broadcast(sum); err != nil || strings.Count(string(got), "of 3") != 3 {
				return fmt.Errorf("rank %d heard %q, %w", g.Rank(), got, err)
			}
			if yes, err := g.Any(round == 1 && g.Rank() == 2); err != nil || yes != (round == 1) {
				return fmt.Errorf("rank %d: any is %v in round %d, %w", g.Rank(), yes, round, err)
			}
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// Whoever the gone pod talked to is told at once; a silent one is given up in time.
func TestAPodThatGoes(t *testing.T) {
	c := config(t, 3)
	c.Silence = 2 * time.Second
	for name, tt := range map[string]struct {
		rank  int
		leave bool
		want  error
	}{
		"another goes": {2, true, gang.ErrLost}, "the first goes": {0, true, gang.ErrLost}, "another hangs": {2, false, gang.ErrSilent},
	} {
		t.Run(name, func(t *testing.T) {
			errs := together(t, c, func(g *gang.Gang) error {
				if g.Rank() == tt.rank {
					if !tt.leave {
						time.Sleep(2 * c.Silence)
					}
					return nil
				}
				_, err := g.Any(false)
				return err
			})
			heard := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
			if len(heard) != 2 || !slices.ContainsFunc(heard, func(err error) bool { return errors.Is(err, tt.want) }) {
				t.Errorf("the other two heard %v, want %v", heard, tt.want)
			}
		})
	}
}

// The others may wait for a node for as long as they like: those who are there make no step, and that is no fault.
func TestTheLastOneIsWaitedFor(t *testing.T) {
	c := config(t, 2)
	c.Silence = time.Second // for those whose name is known
	var beats atomic.Int64
	c.Beat = func() { beats.Add(1) }
	late := c
	late.Rank, late.Silence = 1, time.Minute
	errs := make(chan error, 2)
	join := func(c gang.Config) {
		g, err := gang.Join(t.Context(), c)
		if err == nil {
			g.Close()
		}
		errs <- err
	}
	go join(c)
	for begun := time.Now(); beats.Load() < 3 || time.Since(begun) < c.Silence; {
		time.Sleep(10 * time.Millisecond)
	}
	go join(late)
	for range 2 {
		if err := <-errs; err != nil && !errors.Is(err, gang.ErrLost) {
			t.Error(err)
		}
	}
}

func TestWhoIsNotFound(t *testing.T) {
	c := config(t, 2)
	c.Rank, c.Silence = 1, 100*time.Millisecond
	if _, err := gang.Join(t.Context(), c); !errors.Is(err, gang.ErrSilent) || !strings.Contains(err.Error(), "network policy") {
		t.Errorf("out of reach: %v", err)
	}
	c.Address = "nowhere.invalid:29500"
	ctx, cancel := context.WithCancel(t.Context())
	c.Beat = cancel // the first one
	if _, err := gang.Join(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("without a name, until told to stop: %v", err)
	}
	c.Rank, c.Beat = 0, func() {}
	c.Address = config(t, 2).Address
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := gang.Join(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("alone, until told to stop: %v", err)
	}
}

// A pod of another attempt, or whoever else connects, is no member.
func TestStrangers(t *testing.T) {
	c := config(t, 2)
	ended := make(chan error, 2)
	member := func(c gang.Config) {
		g, err := gang.Join(t.Context(), c)
		if err == nil {
			_, err = g.Any(false)
			g.Close()
		}
		ended <- err
	}
	go member(c)
	stranger := c
	stranger.Key, stranger.Rank, stranger.Silence = "sha256:spec/1", 1, time.Minute
	if _, err := gang.Join(t.Context(), stranger); !errors.Is(err, gang.ErrLost) {
		t.Errorf("the stranger hears %v", err)
	}
	c.Rank = 1
	go member(c)
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
