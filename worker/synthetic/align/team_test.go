package align

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/spatialalign/operator/worker/synthetic/gang"
	"github.com/spatialalign/operator/worker/synthetic/model"
)

// Several pods train what one trains, to the last bit, however many they are and whoever goes on from whose checkpoint.
func TestTheNumberOfPodsChangesNoBit(t *testing.T) {
	const pairs, steps = 3*chunkPairs + 5, 6
	alone, want := fixture(t, pairs)
	history := train(t, alone, steps)
	for size := 2; size <= 5; size++ { // the fifth has nothing to compute
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := listener.Addr().String()
		_ = listener.Close()
		var wait sync.WaitGroup
		var adapters []*model.Adapter
		for rank := range size {
			trainer, adapter := fixture(t, pairs)
			wait.Go(func() {
				inTeam(t, trainer, gang.Config{Rank: rank, Size: size, Address: address, Key: "k", Silence: time.Minute, Beat: func() {}}, history)
			})
			adapters = append(adapters, adapter)
		}
		wait.Wait()
		for rank, got := range adapters {
			if !equal(got, want) {
				t.Errorf("rank %d of %d ends with another adapter", rank, size)
			}
		}
	}
}

// inTeam takes the steps of a history, and holds each against it.
func inTeam(t *testing.T, trainer *Trainer, c gang.Config, history []Stats) {
	team, err := gang.Join(t.Context(), c)
	if err != nil {
		t.Error(err)
		return
	}
	defer team.Close()
	trainer.options.Team = team
	for _, want := range history {
		if got, err := trainer.Step(); err != nil || got != want {
			t.Errorf("rank %d of %d: %+v, %v, want %+v", c.Rank, c.Size, got, err, want)
			return
		}
	}
}

// A message that is too short is an error, and changes no adapter.
func TestHalfAMessage(t *testing.T) {
	trainer, adapter := fixture(t, 2*chunkPairs)
	before := clone(adapter)
	trainer.options.Team = deaf{}
	if _, err := trainer.Step(); err == nil || trainer.Done() != 0 || !equal(adapter, before) {
		t.Errorf("%v after %d steps", err, trainer.Done())
	}
}

// deaf is a team whose other half says nothing.
type deaf struct{}

func (deaf) Rank() int                             { return 0 }
func (deaf) Size() int                             { return 2 }
func (deaf) Gather(own []byte) ([][]byte, error)   { return [][]byte{own, nil}, nil }
func (deaf) Broadcast(data []byte) ([]byte, error) { return data, nil }
