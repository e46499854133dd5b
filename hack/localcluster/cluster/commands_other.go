//go:build !linux

package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// clusterCommands refuses everywhere but on Linux, whose namespaces and cgroups the cluster is made of.
func clusterCommands(*string) []*cobra.Command {
	return []*cobra.Command{{
		Use:                "up",
		Short:              "Start the cluster (on Linux)",
		DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error {
			return fmt.Errorf("the local cluster runs on Linux, this is %s: use kind or minikube and install the chart there (docs/install.md)", runtime.GOOS)
		},
	}}
}
