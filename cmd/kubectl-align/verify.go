package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/spatialalign/operator/internal/storecli"
	"github.com/spatialalign/operator/internal/verify"
)

func newVerify(o *options) *cobra.Command {
	var flags errandFlags
	var output string
	c := &cobra.Command{
		Use:   "verify [RUN]",
		Short: "Check every digest of a run: artifacts, lineage and samples",
		Long: `Read every artifact that a run's status and its lineage name, and the sidecar, video and latent of every sample that
their indexes, scores and pairs name, and compare each with its digest. Exit status: 0 when all is as it was
written, 1 on any defect.
` + errandHelp,
		Example:           `  kubectl align verify first-run`,
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
			e, err := errandOf("verify", run)
			if err != nil {
				return err
			}
			for _, why := range verify.Unrecorded(run) {
				o.say("%s", why)
			}
			question, err := verify.QuestionOf(run)
			if err != nil {
				return err
			}
			result, err := ask[verify.Result](o, c, at, flags, e, question)
			if err != nil {
				return err
			}
			return storecli.PrintVerify(o.Out, result, output)
		},
	}
	flags.add(c, 2*time.Hour)
	c.Flags().StringVarP(&output, "output", "o", storecli.Text, "json for JSON")
	return c
}
