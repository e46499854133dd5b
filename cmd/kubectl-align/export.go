package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/errand/dispatch"
	"github.com/spatialalign/operator/internal/export"
)

func newExport(o *options) *cobra.Command {
	var flags errandFlags
	var out, dataset string
	var iteration int32
	c := &cobra.Command{
		Use:   "export [RUN] [--iteration K] | --dataset NAME -o DIR",
		Short: "Take an adapter, or a dataset's pairs, out of the store",
		Long: `Write into a folder what a run has reached: the best adapter, its model card and lineage, the pairs that it was trained on,
and the prompts. --iteration takes another iteration's, --dataset the pairs of a PreferenceDataset. Every file is
compared with the digest in status. The report has the videos.
` + errandHelp,
		Example: `  kubectl align export first-run -o best
  kubectl align export --dataset my-pairs -o pairs`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: o.complete,
		RunE: func(c *cobra.Command, args []string) error {
			var at *cluster
			var e dispatch.Errand
			var q export.Question
			var err error
			if dataset != "" {
				at, e, q, err = o.datasetExport(c, args, dataset)
			} else {
				at, e, q, err = o.runExport(c, args, iteration)
			}
			if err != nil {
				return err
			}
			answer, err := o.send(c, at, flags, e, q)
			if err != nil {
				return err
			}
			paths, err := export.Unpack(answer, q, out)
			for _, path := range paths {
				fmt.Fprintln(o.Out, path)
			}
			return err
		},
	}
	c.Flags().StringVarP(&out, "out", "o", "", "folder to write to, made when absent")
	c.Flags().Int32Var(&iteration, "iteration", -1, "this iteration's (default the best one's)")
	c.Flags().StringVar(&dataset, "dataset", "", "the pairs of this PreferenceDataset, instead of a run's")
	flags.add(c, 10*time.Minute)
	c.MarkFlagsMutuallyExclusive("dataset", "iteration")
	_ = c.MarkFlagRequired("out") // fails only for a flag that is not there
	_ = c.MarkFlagDirname("out")
	return c
}

func (o *options) runExport(c *cobra.Command, args []string, iteration int32) (at *cluster, e dispatch.Errand, q export.Question, err error) {
	at, run, err := o.run(c.Context(), args)
	if err != nil {
		return at, e, q, err
	}
	if e, err = errandOf("export", run); err != nil {
		return at, e, q, err
	}
	wanted := &iteration
	if !c.Flags().Changed("iteration") {
		wanted = nil
	}
	q, err = export.OfRun(run, wanted)
	return at, e, q, err
}

func (o *options) datasetExport(c *cobra.Command, args []string, name string) (at *cluster, e dispatch.Errand, q export.Question, err error) {
	if len(args) > 0 {
		return at, e, q, errors.New("name a RUN or a --dataset, not both")
	}
	if at, err = o.connect(); err != nil {
		return at, e, q, err
	}
	d := &v1alpha1.PreferenceDataset{}
	if err := explain(at.client.Get(c.Context(), types.NamespacedName{Namespace: at.namespace, Name: name}, d)); err != nil {
		return at, e, q, err
	}
	if q, err = export.OfDataset(d); err != nil {
		return at, e, q, err
	}
	return at, dispatch.Errand{Name: "export", Namespace: d.Namespace, Runtime: &d.Status.Runtime.Spec}, q, nil
}
