package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/spatialalign/operator/internal/lineage"
	"github.com/spatialalign/operator/internal/storecli"
	"github.com/spatialalign/operator/internal/verify"
)

func newLineage(o *options) *cobra.Command {
	var flags errandFlags
	var output string
	var iteration int
	c := &cobra.Command{
		Use:   "lineage [RUN] [--iteration K] [-o json]",
		Short: "Print what the iterations of a run were made of, newest first",
		Long: `Print the records that suffice to make each iteration again: spec, runtime, seeds, images, and every artifact with its digest.
With -o json the records are complete.
` + errandHelp,
		Example: `  kubectl align lineage first-run
  kubectl align lineage first-run --iteration 2 -o json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: o.complete,
		RunE: func(c *cobra.Command, args []string) error {
			if err := storecli.CheckOutput(output); err != nil {
				return err
			}
			at, run, err := o.run(c.Context(), args)
			if err != nil {
				return err
			}
			for _, why := range verify.Unrecorded(run) {
				o.say("%s", why)
			}
			newest := verify.NewestLineage(run)
			if newest == nil {
				return fmt.Errorf("run %s has no lineage yet: it is written when an iteration ends", run.Name)
			}
			e, err := errandOf("lineage", run)
			if err != nil {
				return err
			}
			result, err := ask[lineage.Result](o, c, at, flags, e, lineage.Question{Newest: *newest})
			if err != nil {
				return err
			}
			return storecli.PrintLineage(o.Out, result, iteration, output)
		},
	}
	flags.add(c, 10*time.Minute)
	c.Flags().StringVarP(&output, "output", "o", storecli.Text, "json for the whole records as JSON")
	c.Flags().IntVar(&iteration, "iteration", -1, "print this iteration alone (default all)")
	return c
}
