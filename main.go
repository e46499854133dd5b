// Command spatialalign is the operator, its CPU stages and its file commands in one binary.
//
//	spatialalign manager                          the controllers
//	spatialalign prepare|score|pair --spec FILE   a stage, as the controllers run it
//	spatialalign score|pair|prompts ...           the same work on files
//	spatialalign report ...                       the report of a run
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/filecli"
	"github.com/spatialalign/operator/internal/report"
	"github.com/spatialalign/operator/internal/stage"
	"github.com/spatialalign/operator/internal/stages"
)

// version is set when the binary is built for release.
var version = "dev"

func main() {
	if isStage(os.Args[1:]) {
		stage.Main(version, stages.All())
	}
	root := &cobra.Command{
		Use:           "spatialalign",
		Short:         "Aligns text-to-video models with the spatial relations that prompts ask for",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(managerCommand(), report.Command())
	root.AddCommand(filecli.Commands()...)
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "spatialalign:", err)
		os.Exit(1)
	}
}

// isStage tells a stage's call from a file command of the same name.
func isStage(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool {
		return a == contract.FlagSpec || strings.HasPrefix(a, contract.FlagSpec+"=")
	}) && len(args) > 0 && args[0] != "report"
}
