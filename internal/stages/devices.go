package stages

import (
	"context"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/stage"
)

// devicesOf are the GPU models that samples were made on, as their sidecars tell, sorted: the first contract.MaxDevices. The
// scores stand whatever became of a sample since: a sidecar that is gone or damaged, or names no model, says nothing.
func devicesOf(ctx context.Context, t *stage.Task, sampleIDs []string) ([]string, error) {
	var mu sync.Mutex
	models := map[string]bool{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookups)
	for _, id := range sampleIDs {
		if contract.ValidKey(contract.SidecarKey(id)) != nil {
			continue // the id of somebody's own videos
		}
		group.Go(func() error {
			defer t.Progress.Add(0) // a heartbeat
			sidecar, err := stage.ReadSidecar(ctx, t.Store, id)
			if absent(err) {
				return nil
			}
			if err != nil {
				return err
			}
			if device := sidecar.Provenance[contract.ProvenanceDevice]; contract.ValidDevice(device) {
				mu.Lock()
				defer mu.Unlock()
				models[device] = true
			}
			return nil
		})
	}
	err := group.Wait()
	sorted := slices.Sorted(maps.Keys(models))
	return sorted[:min(len(sorted), contract.MaxDevices)], err
}
