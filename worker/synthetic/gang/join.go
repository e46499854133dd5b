package gang

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// again is how long to wait before the next attempt to find, or to hear of, another pod.
const again = 500 * time.Millisecond

// Config of a pod's place in a gang.
type Config struct {
	Rank, Size int
	// Address of the pod of rank 0: host and port.
	Address string
	// Key is the same for all pods of one training and attempt, and for no others.
	Key string
	// Silence is how long a pod may be silent, or out of reach though its name is known.
	Silence time.Duration
	// Beat is called as long as the others may still be waiting for their nodes, for which there is no bound here.
	Beat func()
}

// Join waits until all pods have found each other.
func Join(ctx context.Context, c Config) (*Gang, error) {
	g := &Gang{rank: c.Rank, size: c.Size, silence: c.Silence, peers: map[int]net.Conn{}}
	var err error
	if c.Rank == 0 {
		err = g.gather(ctx, c)
	} else {
		err = g.connect(ctx, c)
	}
	if err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

// hello is what a pod says first.
func (c Config) hello() string { return c.Key + " " + strconv.Itoa(c.Rank) }

// gather lets the other pods connect, and tells them when all have.
func (g *Gang) gather(ctx context.Context, c Config) error {
	_, port, err := net.SplitHostPort(c.Address)
	if err != nil {
		return fmt.Errorf("address of rank 0: %w", err)
	}
	listener, err := (&net.ListenConfig{KeepAliveConfig: keepAlive}).Listen(ctx, "tcp", ":"+port)
	if err != nil {
		return err
	}
	defer listener.Close()
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	defer every(again, c.Beat)()
	for len(g.peers) < c.Size-1 {
		peer, err := listener.Accept()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		rank, known := introduced(peer, c)
		if !known {
			_ = peer.Close() // not one of us
			continue
		}
		if before := g.peers[rank]; before != nil {
			_ = before.Close()
		}
		g.peers[rank] = peer
	}
	_, err = g.Broadcast(nil)
	return err
}

// introduced reads who has connected.
func introduced(peer net.Conn, c Config) (rank int, known bool) {
	if err := peer.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return 0, false
	}
	said, err := readFrame(peer)
	key, number, found := strings.Cut(string(said), " ")
	if err != nil || !found || key != c.Key {
		return 0, false
	}
	rank, err = strconv.Atoi(number)
	return rank, err == nil && rank > 0 && rank < c.Size
}

// connect finds the pod of rank 0, and waits until it has all. Its name is known from when it has a node.
func (g *Gang) connect(ctx context.Context, c Config) error {
	dialer := net.Dialer{Timeout: 5 * time.Second, KeepAliveConfig: keepAlive}
	var known time.Time
	for {
		peer, err := dialer.DialContext(ctx, "tcp", c.Address)
		if err == nil {
			g.peers[0] = peer
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var unresolved *net.DNSError
		switch {
		case errors.As(err, &unresolved):
			known = time.Time{}
			c.Beat()
		case known.IsZero():
			known = time.Now()
		case time.Since(known) > c.Silence:
			return fmt.Errorf("%w: rank 0 at %s is out of reach for %s, though its name is known: %w; does a network policy keep the pods of a training apart?",
				ErrSilent, c.Address, c.Silence, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(again):
		}
	}
	if err := g.send(0, []byte(c.hello())); err != nil {
		return err
	}
	return g.await(ctx, c)
}

// await waits for the word that all are there.
func (g *Gang) await(ctx context.Context, c Config) error {
	stop := context.AfterFunc(ctx, func() { _ = g.peers[0].Close() })
	defer stop()
	for {
		if err := g.peers[0].SetReadDeadline(time.Now().Add(again)); err != nil {
			return g.explain(0, err)
		}
		_, err := readFrame(g.peers[0]) // four bytes: they come together
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return g.explain(0, err)
		}
		c.Beat()
	}
}

// keepAlive notices within half a minute that a peer's node is gone.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 4}

// every calls f again and again until the returned function is called.
func every(period time.Duration, f func()) (stop func()) {
	ended := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		ticker := time.NewTicker(period)
		defer ticker.Stop()
		for {
			select {
			case <-ended:
				return
			case <-ticker.C:
				f()
			}
		}
	})
	return func() {
		close(ended)
		wait.Wait()
	}
}
