package errand

import (
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/spatialalign/operator/internal/contract"
)

// CommandServe and CommandReady are the operator binary's subcommands that a pod runs.
const (
	CommandServe = "serve"
	CommandReady = "ready"
)

// Commands of the operator's binary: serve runs an errand in a pod, ready is the pod's readiness probe.
func Commands(works map[string]Work) []*cobra.Command {
	names := slices.Sorted(maps.Keys(works))
	serveCommand := &cobra.Command{
		Use:   CommandServe + " " + strings.Join(names, "|"),
		Short: "Answer one question about the store, as kubectl align asks it",
		Long: "Take one question on " + address + ", work on the store in " + contract.EnvStore + ", and give the answer there until terminated.\n" +
			"kubectl align runs this in a pod of its own; on a store at hand the commands of the same names do the same.",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: names,
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return serve(ctx, os.Getenv(contract.EnvStore), works[args[0]])
		},
	}
	readyCommand := &cobra.Command{
		Use: CommandReady, Short: "Succeed when the server of serve is up on this pod", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return ready(c.Context()) },
	}
	return []*cobra.Command{serveCommand, readyCommand}
}
