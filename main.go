// Command spatialalign is the operator, its CPU stages and its file commands in one binary.
//
//	spatialalign manager                          the controllers
//	spatialalign prepare|score|pair|compare|lineage --spec FILE   a stage, as the controllers run it
//	spatialalign score|pair|prompts ...           the same work on files
//	spatialalign report|lineage|verify|gc ...     what kubectl align does, on a store at hand
//	spatialalign serve report|export|lineage|verify|gc  the same in a pod, for kubectl align
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/errand"
	"github.com/spatialalign/operator/internal/export"
	"github.com/spatialalign/operator/internal/filecli"
	"github.com/spatialalign/operator/internal/lineage"
	"github.com/spatialalign/operator/internal/report"
	"github.com/spatialalign/operator/internal/retention"
	"github.com/spatialalign/operator/internal/stage"
	"github.com/spatialalign/operator/internal/stages"
	"github.com/spatialalign/operator/internal/storecli"
	"github.com/spatialalign/operator/internal/verify"
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
	root.AddCommand(storecli.Commands()...)
	root.AddCommand(errand.Commands(errands)...)
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "spatialalign:", err)
		os.Exit(1)
	}
}

// errands that kubectl align sends into a cluster.
var errands = map[string]errand.Work{
	"report": errand.Whole(report.Answer), "export": export.Answer, "lineage": errand.Whole(lineage.Answer),
	"verify": errand.Whole(verify.Answer), "gc": errand.Whole(retention.Answer),
}

// isStage tells a stage's call from a command of the same name.
func isStage(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool {
		return a == contract.FlagSpec || strings.HasPrefix(a, contract.FlagSpec+"=")
	})
}
