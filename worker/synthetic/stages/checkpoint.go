package stages

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/stage"
	"github.com/spatialalign/operator/worker/synthetic/align"
)

const maxCheckpoint = 256 << 20

// A checkpoint's name tells its step and its own digest, so that whoever finds it can verify it.
var checkpointName = regexp.MustCompile(`/checkpoint-(\d{8})-([0-9a-f]{64})\.safetensors$`)

// save writes a checkpoint below this pod's prefix.
func save(ctx context.Context, t *stage.Task, trainer *align.Trainer, history []align.Stats) error {
	data, err := trainer.Checkpoint(t.SpecDigest, history)
	if err != nil {
		return err
	}
	hash := strings.TrimPrefix(contract.Digest(data), "sha256:")
	key := t.OutputKey(fmt.Sprintf("checkpoint-%08d-%s.safetensors", trainer.Done(), hash))
	if _, err := t.Store.Write(ctx, key, bytes.NewReader(data)); err != nil {
		return err
	}
	t.Progress.Checkpoint()
	return nil
}

// restore takes up the training at the newest checkpoint that any attempt at the same spec left.
// Damaged ones and those of another spec are passed over.
func restore(ctx context.Context, t *stage.Task, trainer *align.Trainer) (checkpoint []byte, history []align.Stats, err error) {
	keys, err := t.Store.List(ctx, t.Spec.Output+"/")
	if err != nil {
		return nil, nil, err
	}
	type found struct{ step, hash, key string }
	var checkpoints []found
	for _, key := range keys {
		if match := checkpointName.FindStringSubmatch(key); match != nil {
			checkpoints = append(checkpoints, found{match[1], match[2], key})
		}
	}
	slices.SortFunc(checkpoints, func(a, b found) int { return strings.Compare(b.step+b.key, a.step+a.key) })
	for _, c := range checkpoints {
		data, err := t.Store.ReadVerified(ctx, contract.Artifact{Key: c.key, Digest: "sha256:" + c.hash}, maxCheckpoint)
		if err != nil && !artifact.IsCorrupt(err) && !artifact.IsMissing(err) {
			return nil, nil, err
		}
		var history []align.Stats
		if err == nil {
			history, err = trainer.Restore(data, t.SpecDigest)
		}
		if err != nil {
			t.Log.Warn("checkpoint is passed over", "key", c.key, "error", err.Error())
			continue
		}
		t.Log.Info("training goes on", "checkpoint", c.key, "step", trainer.Done())
		t.Progress.Skip(int64(trainer.Done()))
		return data, history, nil
	}
	return nil, nil, nil
}
