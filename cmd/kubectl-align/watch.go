package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/internal/watch"
)

func newWatch(o *options) *cobra.Command {
	var timeout time.Duration
	var lines bool
	c := &cobra.Command{
		Use:   "watch [RUN]",
		Short: "Show a run while it goes on, until it has ended",
		Long: `Show the stages of a run with their progress, and the accuracy of each iteration, until the run has ended.

On a terminal the view is redrawn in place. Elsewhere, and with --lines, every change is one line with the
time since the run's start. At the end comes a table of the iterations and the best adapter.

RUN may be left out where the namespace has exactly one. Exit status: 0 when the run is complete, 1 when it
has failed or --timeout has passed.`,
		Example: `  kubectl align watch first-run
  kubectl align watch -n team-a --timeout 2h`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: o.complete,
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			at, run, err := o.run(ctx, args)
			if err != nil {
				return err
			}
			key := client.ObjectKeyFromObject(run)
			if timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeoutCause(ctx, timeout, fmt.Errorf("run %s has not ended after %s; it goes on, look again with kubectl align watch", key, timeout))
				defer cancel()
			}
			watcher := &watch.Watcher{Client: at.client, Run: key, Show: o.display(lines), Clock: clock.RealClock{}}
			view, err := watcher.Follow(ctx)
			if view.Ending != nil {
				fmt.Fprint(o.Out, "\n", watch.Table(view))
			}
			return err
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 0, "give up watching after this time, such as 2h; 0 means never")
	c.Flags().BoolVar(&lines, "lines", false, "print a line per change, also on a terminal")
	return c
}

// display suits where the output goes.
func (o *options) display(lines bool) watch.Display {
	file, ok := o.Out.(*os.File)
	if lines || !ok || !term.IsTerminal(int(file.Fd())) || os.Getenv("TERM") == "dumb" {
		return &watch.Printer{Out: o.Out}
	}
	size := func() watch.Size {
		columns, rows, err := term.GetSize(int(file.Fd()))
		if err != nil || columns <= 0 || rows <= 0 {
			return watch.Size{Columns: 80, Rows: 24}
		}
		return watch.Size{Columns: columns, Rows: rows}
	}
	return &watch.Painter{Out: o.Out, Size: size, Color: os.Getenv("NO_COLOR") == ""}
}
