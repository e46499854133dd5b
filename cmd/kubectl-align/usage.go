package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/usage"
)

func newUsage(o *options) *cobra.Command {
	var output string
	var by []string
	var since time.Duration
	var all bool
	c := &cobra.Command{
		Use:   "usage [-A] [--by namespace,runtime,run,stage] [--since 720h]",
		Short: "Add up the GPU-hours of runs, useful and wasted",
		Long: `Add up the GPU time that AlignmentRuns, and ScoringBatches of no run, have in their status.

It is what exists: a run that was deleted took its numbers along (the metric spatialalign_used_gpu_seconds_total has them).
USEFUL is the time of pods that ended well or still run, FAILED of those that ended by a fault of their own, INTERRUPTED
of those that were evicted, preempted, deleted or lost; what these had finished is in the store and may yet be used. The
stages of a long run's earlier iterations are told in one line. --since leaves out what ended before; what did not counts whole.`,
		Example: `  kubectl align usage -n team-a
  kubectl align usage -A --by namespace,stage
  kubectl align usage -A --since 720h -o csv > gpu-hours.csv`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := usage.CheckOutput(output); err != nil {
				return err
			}
			if err := usage.CheckKeys(by); err != nil {
				return err
			}
			if since < 0 {
				return fmt.Errorf("--since %s: a time is at least 0", since)
			}
			at, err := o.connect()
			if err != nil {
				return err
			}
			var scope []client.ListOption
			if !all {
				scope = append(scope, client.InNamespace(at.namespace))
			}
			var runs v1alpha1.AlignmentRunList
			var batches v1alpha1.ScoringBatchList
			for _, list := range []client.ObjectList{&runs, &batches} {
				if err := at.client.List(c.Context(), list, scope...); err != nil {
					return explain(err)
				}
			}
			var from time.Time
			if since > 0 {
				from = time.Now().Add(-since)
			}
			return usage.Print(o.Out, usage.Of(runs.Items, batches.Items, by, from), by, output)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", usage.Table, "table (GPU-hours), csv or json (GPU-seconds)")
	c.Flags().StringSliceVar(&by, "by", []string{"namespace", "runtime", "run"}, "what rows are told apart by: namespace, runtime, run, stage")
	c.Flags().DurationVar(&since, "since", 0, "leave out what ended longer ago than this, such as 720h")
	c.Flags().BoolVarP(&all, "all-namespaces", "A", false, "of all namespaces")
	return c
}
