package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/errand/dispatch"
	"github.com/spatialalign/operator/internal/retention"
	"github.com/spatialalign/operator/internal/storecli"
)

func newGC(o *options) *cobra.Command {
	var flags errandFlags
	var output, runtime string
	var minAge time.Duration
	var remove bool
	c := &cobra.Command{
		Use:   "gc [--min-age 168h] [--delete]",
		Short: "Count, or delete, what lies in a namespace's store and nothing refers to",
		Long: `Count what stages wrote into the store of a namespace and no AlignmentRun, ScoringBatch or PreferenceDataset of it refers
to any more. That is a dry run; --delete deletes it.

Spared are: what living objects own or name, ended ones too; the samples that their indexes, scores and pairs name, with their
tracks; what is younger than --min-age; and everything that no stage wrote, such as prompts of your own. When any of these
roots cannot be read, nothing is deleted. Deleting a run, and then collecting, is how its artifacts go.

A store that no living object uses is found with --runtime. Never share one store between two clusters.
` + errandHelp,
		Example: `  kubectl align gc -n team-a
  kubectl align gc -n team-a --min-age 720h --delete`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := storecli.CheckOutput(output); err != nil {
				return err
			}
			seconds, err := storecli.MinAgeSeconds(minAge)
			if err != nil {
				return err
			}
			at, err := o.connect()
			if err != nil {
				return err
			}
			objects, err := at.roots(c.Context())
			if err != nil {
				return fmt.Errorf("not all roots can be read, so nothing is known to be garbage: %w", err)
			}
			roots, err := retention.RootsOf(objects)
			if err != nil {
				return err
			}
			stores, err := at.stores(c.Context(), objects, runtime)
			if err != nil {
				return err
			}
			for _, store := range stores {
				e := dispatch.Errand{Name: "gc", Namespace: at.namespace, Runtime: store, Writes: remove}
				result, err := ask[retention.Result](o, c, at, flags, e, retention.Question{Roots: roots, MinAgeSeconds: seconds, Delete: remove})
				if err != nil {
					return err
				}
				if err := storecli.PrintGC(o.Out, result, output); err != nil {
					return err
				}
			}
			return nil
		},
	}
	flags.add(c, 2*time.Hour)
	c.Flags().StringVarP(&output, "output", "o", storecli.Text, "json for JSON, a document per store")
	c.Flags().StringVar(&runtime, "runtime", "", "collect in the store of this AlignmentRuntime (default: in those of the namespace's objects)")
	c.Flags().DurationVar(&minAge, "min-age", storecli.DefaultMinAge, "spare what was written more recently")
	c.Flags().BoolVar(&remove, "delete", false, "delete what was found; without it nothing changes")
	return c
}

// roots lists every object that may refer to artifacts.
func (c *cluster) roots(ctx context.Context) ([]client.Object, error) {
	var runs v1alpha1.AlignmentRunList
	var batches v1alpha1.ScoringBatchList
	var datasets v1alpha1.PreferenceDatasetList
	// Owners last: a child that its run makes in between is the younger one's, and spared by its age.
	for _, list := range []client.ObjectList{&datasets, &batches, &runs} {
		if err := c.client.List(ctx, list, client.InNamespace(c.namespace)); err != nil {
			return nil, explain(err)
		}
	}
	var objects []client.Object
	for i := range runs.Items {
		objects = append(objects, &runs.Items[i])
	}
	for i := range batches.Items {
		objects = append(objects, &batches.Items[i])
	}
	for i := range datasets.Items {
		objects = append(objects, &datasets.Items[i])
	}
	return objects, nil
}

// stores to collect in: the runtime's, or all that the objects use, each once.
func (c *cluster) stores(ctx context.Context, objects []client.Object, runtime string) ([]*v1alpha1.AlignmentRuntimeSpec, error) {
	if runtime != "" {
		var found v1alpha1.AlignmentRuntime
		if err := c.client.Get(ctx, types.NamespacedName{Name: runtime}, &found); err != nil {
			return nil, explain(err)
		}
		return []*v1alpha1.AlignmentRuntimeSpec{&found.Spec}, nil
	}
	var stores []*v1alpha1.AlignmentRuntimeSpec
	for _, o := range objects {
		spec := retention.RuntimeOf(o)
		if spec != nil && !hasStore(stores, spec.Store) {
			stores = append(stores, spec)
		}
	}
	if len(stores) == 0 {
		return nil, errors.New("no object of the namespace names a store; name its AlignmentRuntime with --runtime")
	}
	return stores, nil
}

func hasStore(stores []*v1alpha1.AlignmentRuntimeSpec, store v1alpha1.StoreSpec) bool {
	for _, s := range stores {
		if reflect.DeepEqual(s.Store, store) {
			return true
		}
	}
	return false
}
