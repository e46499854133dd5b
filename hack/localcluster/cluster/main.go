// Localcluster builds, starts, feeds and stops a real one-node Kubernetes for development and end-to-end tests. See
// docs/local-cluster.md for its use and hack/localcluster/README.md for how it is made.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/layout"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/parts"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "localcluster:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{
		Use:           "localcluster",
		Short:         "A real one-node Kubernetes, built from Go modules and Debian packages",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	dir := root.PersistentFlags().String("dir", "", "folder of the cluster (default .local/cluster in the checkout)")
	root.AddCommand(assetsCommand(), toolCommand())
	root.AddCommand(clusterCommands(dir)...)
	return root.ExecuteContext(ctx)
}

func assetsCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "assets [program...]",
		Short:     "Build etcd, kube-apiserver, kubectl and the programs named, and print their folder: the KUBEBUILDER_ASSETS of envtest",
		Args:      cobra.OnlyValidArgs,
		ValidArgs: parts.Cluster.Names(),
		RunE: func(cmd *cobra.Command, more []string) error {
			checkout, err := findCheckout()
			if err != nil {
				return err
			}
			bin, err := parts.Cluster.Build(cmd.Context(), checkout, append(more, parts.EnvtestAssets...), os.Stderr)
			if err != nil {
				return err
			}
			fmt.Println(bin)
			return nil
		},
	}
}

// tools are programs that run outside of the cluster.
var tools = map[string]parts.Set{"prometheus": parts.Prometheus}

func toolCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "tool NAME",
		Short:     "Build a program for tests, such as prometheus, and print its path",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: slices.Sorted(maps.Keys(tools)),
		RunE: func(cmd *cobra.Command, args []string) error {
			checkout, err := findCheckout()
			if err != nil {
				return err
			}
			bin, err := tools[args[0]].Build(cmd.Context(), checkout, args, os.Stderr)
			if err != nil {
				return err
			}
			fmt.Println(filepath.Join(bin, args[0]))
			return nil
		},
	}
}

func findCheckout() (string, error) {
	at, err := os.Getwd()
	if err != nil {
		return "", err
	}
	return layout.FindCheckout(at)
}

// place is the layout of the cluster in the folder of the --dir flag, or in the checkout's default folder.
func place(dir string) (layout.Layout, error) {
	if dir == "" {
		checkout, err := findCheckout()
		if err != nil {
			return layout.Layout{}, err
		}
		dir = filepath.Join(checkout, ".local", "cluster")
	}
	return layout.New(dir)
}
