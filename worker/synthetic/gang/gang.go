// Package gang lets the pods of one training find each other and exchange what they computed. The pod of rank 0 listens,
// the others connect to it by its name; every exchange goes through it.
package gang

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// What ends a gang. Whoever meets one of these has done nothing wrong.
var (
	// ErrLost says that a pod has gone: its own end says why.
	ErrLost = errors.New("a pod of the training is gone")
	// ErrSilent says that a pod can't be reached, or said nothing for too long.
	ErrSilent = errors.New("a pod of the training is silent")
)

// maxFrame is more than any exchange takes.
const maxFrame = 256 << 20

// Gang is one pod's place among those that train together. Its methods are called by all pods in the same order, and by one
// goroutine.
type Gang struct {
	rank, size int
	silence    time.Duration
	// peers by rank; of another rank than 0, the first alone.
	peers map[int]net.Conn
}

// Rank of this pod among Size.
func (g *Gang) Rank() int { return g.rank }

// Size is the number of pods.
func (g *Gang) Size() int { return g.size }

// Gather gives everybody's data by rank on rank 0, and nothing elsewhere.
func (g *Gang) Gather(own []byte) ([][]byte, error) {
	if g.rank > 0 {
		return nil, g.send(0, own)
	}
	all := make([][]byte, g.size)
	all[0] = own
	for rank := 1; rank < g.size; rank++ {
		data, err := g.receive(rank)
		if err != nil {
			return nil, err
		}
		all[rank] = data
	}
	return all, nil
}

// Broadcast gives everybody the data of rank 0.
func (g *Gang) Broadcast(data []byte) ([]byte, error) {
	if g.rank > 0 {
		return g.receive(0)
	}
	for rank := 1; rank < g.size; rank++ {
		if err := g.send(rank, data); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// Any tells everybody whether anybody says yes. It is a barrier, too.
func (g *Gang) Any(yes bool) (bool, error) {
	said := []byte{0}
	if yes {
		said[0] = 1
	}
	all, err := g.Gather(said)
	if err != nil {
		return false, err
	}
	for _, other := range all {
		if len(other) == 1 {
			said[0] |= other[0]
		}
	}
	answer, err := g.Broadcast(said)
	if err != nil {
		return false, err
	}
	return len(answer) == 1 && answer[0] == 1, nil
}

// Close leaves the gang.
func (g *Gang) Close() {
	for _, peer := range g.peers {
		_ = peer.Close() // there is nothing left to say
	}
}

func (g *Gang) send(rank int, data []byte) error {
	peer := g.peers[rank]
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(data)), uint32(len(data)))
	err := peer.SetWriteDeadline(time.Now().Add(g.silence))
	if err == nil {
		_, err = peer.Write(append(frame, data...))
	}
	return g.explain(rank, err)
}

func (g *Gang) receive(rank int) ([]byte, error) {
	peer := g.peers[rank]
	err := peer.SetReadDeadline(time.Now().Add(g.silence))
	if err != nil {
		return nil, g.explain(rank, err)
	}
	data, err := readFrame(peer)
	return data, g.explain(rank, err)
}

func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxFrame {
		return nil, fmt.Errorf("a message of %d bytes, more than %d", n, maxFrame)
	}
	data := make([]byte, n)
	_, err := io.ReadFull(r, data)
	return data, err
}

// explain says what an error of a connection means.
func (g *Gang) explain(rank int, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: no word from rank %d (%s) for %s", ErrSilent, rank, g.peers[rank].RemoteAddr(), g.silence)
	default:
		return fmt.Errorf("%w: rank %d (%s): %w", ErrLost, rank, g.peers[rank].RemoteAddr(), err)
	}
}
