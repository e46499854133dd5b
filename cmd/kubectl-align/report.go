package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/report"
)

func newReport(o *options) *cobra.Command {
	var flags errandFlags
	var out string
	c := &cobra.Command{
		Use:   "report [RUN] -o DIR",
		Short: "Write a report of a run: charts, tables and videos in one page",
		Long: `Write a report of a run into a folder: index.html, which stands alone, accuracy.svg, report.json and the videos.

A run that has not ended gets a report of what exists. RUN may be left out where the namespace has exactly one.
` + errandHelp,
		Example:           `  kubectl align report first-run -o report && xdg-open report/index.html`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: o.complete,
		RunE: func(c *cobra.Command, args []string) error {
			at, run, err := o.run(c.Context(), args)
			if err != nil {
				return err
			}
			if !evaluated(run) {
				o.say("no iteration of the run is evaluated yet: the report shows what exists")
			}
			e, err := errandOf("report", run)
			if err != nil {
				return err
			}
			answer, err := o.send(c, at, flags, e, report.PlanOf(run))
			if err != nil {
				return err
			}
			bundle, err := report.ReadBundle(bytes.NewReader(answer))
			if err != nil {
				return err
			}
			if n := len(bundle.Findings.Problems); n > 0 {
				o.say("artifacts that could not be read: %d; the report names them", n)
			}
			if err := report.Build(run, bundle, time.Now(), out); err != nil {
				return err
			}
			fmt.Fprintln(o.Out, filepath.Join(out, "index.html"))
			return nil
		},
	}
	c.Flags().StringVarP(&out, "out", "o", "", "folder to write to, made when absent")
	flags.add(c, 10*time.Minute)
	_ = c.MarkFlagRequired("out") // fails only for a flag that is not there
	_ = c.MarkFlagDirname("out")
	return c
}

func evaluated(run *v1alpha1.AlignmentRun) bool {
	for i := range run.Status.Iterations {
		if run.Status.Iterations[i].Evaluation != nil {
			return true
		}
	}
	return false
}
