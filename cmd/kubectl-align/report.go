package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/report"
	"github.com/spatialalign/operator/internal/report/fetch"
)

func newReport(o *options) *cobra.Command {
	var out, image string
	var startTimeout time.Duration
	c := &cobra.Command{
		Use:   "report [RUN] -o DIR",
		Short: "Write a report of a run: charts, tables and videos in one page",
		Long: `Write a report of a run into a folder: index.html, which stands alone, accuracy.svg, report.json and the videos.

The store is read by a short-lived pod in the run's namespace and downloaded through a port-forward, so that it
works with every store. The pod is removed in the end, also on Ctrl-C. It takes the rights to list jobs, to
create, list, watch and delete pods, and to get and create pods/portforward in that namespace.

A run that has not ended gets a report of what exists. RUN may be left out where the namespace has exactly one.`,
		Example:           `  kubectl align report first-run -o report && xdg-open report/index.html`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: o.complete,
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			at, err := o.connect()
			if err != nil {
				return err
			}
			run, err := at.find(ctx, args)
			if err != nil {
				return err
			}
			say := func(format string, args ...any) { fmt.Fprintf(o.ErrOut, format+"\n", args...) }
			if !evaluated(run) {
				say("no iteration of the run is evaluated yet: the report shows what exists")
			}
			f := &fetch.Fetcher{Client: at.client, Forward: fetch.PortForward(at.config), Image: image, StartTimeout: startTimeout, Say: say}
			bundle, err := f.Fetch(ctx, run)
			if err != nil {
				return err
			}
			if n := len(bundle.Findings.Problems); n > 0 {
				say("artifacts that could not be read: %d; the report names them", n)
			}
			if err := report.Build(run, bundle, time.Now(), out); err != nil {
				return err
			}
			fmt.Fprintln(o.Out, filepath.Join(out, "index.html"))
			return nil
		},
	}
	c.Flags().StringVarP(&out, "out", "o", "", "folder to write to, made when absent")
	c.Flags().StringVar(&image, "image", "", "the operator's image (default: the one that the run's own Jobs used)")
	c.Flags().DurationVar(&startTimeout, "start-timeout", 2*time.Minute, "how long the pod may take to start")
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
