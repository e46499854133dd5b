package stages

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/stage"
	"github.com/spatialalign/operator/worker/synthetic/align"
	"github.com/spatialalign/operator/worker/synthetic/gang"
)

// linger is how long a pod stays that ends because another did: so the end of that one is seen first, and is what counts.
const linger = 5 * time.Second

// together trains in as many pods as the task says. The first one finds the checkpoint, saves, and writes the adapter; what
// they compute is the same to the last bit as in one pod.
func together(ctx context.Context, t *stage.Task, o *align.Options, work func(*gang.Gang) error) error {
	if t.Nodes == 1 {
		return work(nil)
	}
	err := func() error {
		team, err := gang.Join(ctx, gang.Config{
			Rank: t.Rank, Size: t.Nodes, Address: t.Master, Key: fmt.Sprintf("%s/%d", t.SpecDigest, t.Attempt), Silence: t.Heartbeat, Beat: t.Progress.Beat,
		})
		if err != nil {
			return err
		}
		defer team.Close()
		t.Log.Info("all pods of the training have found each other", "pods", t.Nodes, "rank", t.Rank)
		o.Team = team
		return work(team)
	}()
	if ctx.Err() == nil && (errors.Is(err, gang.ErrLost) || errors.Is(err, stage.ErrInterrupted)) {
		timer := time.NewTimer(linger)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	switch {
	case errors.Is(err, gang.ErrLost):
		return stage.Errorf(contract.ExitStorage, "%w", err)
	case errors.Is(err, gang.ErrSilent):
		return stage.Errorf(contract.ExitGPU, "%w", err)
	default:
		return err
	}
}

// takeUp gives every pod the checkpoint that the first one found.
func takeUp(ctx context.Context, t *stage.Task, trainer *align.Trainer, team *gang.Gang) ([]align.Stats, error) {
	if team == nil || team.Rank() == 0 {
		data, history, err := restore(ctx, t, trainer)
		if err == nil && team != nil {
			_, err = team.Broadcast(data)
		}
		return history, err
	}
	data, err := team.Broadcast(nil)
	if err != nil || len(data) == 0 {
		return nil, err
	}
	history, err := trainer.Restore(data, t.SpecDigest)
	t.Progress.Skip(int64(trainer.Done()))
	return history, err
}

// agree says whether any pod was told to stop.
func agree(team *gang.Gang, stop bool) (bool, error) {
	if team == nil {
		return stop, nil
	}
	return team.Any(stop)
}
