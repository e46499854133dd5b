package filecli

import (
	"bytes"
	"strings"

	"github.com/spf13/cobra"
)

// runCommand runs a command as main would and gives what it printed to stdout.
func runCommand(stdin string, args ...string) (stdout string, err error) {
	root := &cobra.Command{Use: "spatialalign", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(Commands()...)
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetIn(strings.NewReader(stdin))
	root.SetArgs(args)
	err = root.Execute()
	return out.String(), err
}
