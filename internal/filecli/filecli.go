// Package filecli holds the commands that work on files, without a cluster and without a store:
// score, pair and prompts. They replace the scripts published with the method.
//
// Every command writes its output to a temporary file beside it and renames that at the end, so that
// a failed run leaves no half file; pipes, devices and stdout are written to directly. Its summary is
// one line of JSON on stdout, or on stderr when stdout holds the output.
package filecli

import (
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/spatialalign/operator/internal/dsr"
)

// Commands lists the commands, to be mounted under a root command.
func Commands() []*cobra.Command {
	return []*cobra.Command{scoreCommand(), pairCommand(), promptsCommand()}
}

// fractionFlag is a flag that holds a decimal in [0, 1].
type fractionFlag struct{ dsr.Fraction }

func (f *fractionFlag) Set(text string) (err error) {
	f.Fraction, err = dsr.ParseFraction(text)
	return err
}

func (f *fractionFlag) Type() string { return "decimal" }

// outFlag adds the flag that says where the output goes.
func outFlag(c *cobra.Command, target *string, usage string) {
	fileFlag(c, target, "out", usage+"; - writes stdout, and the summary to stderr")
}

// fileFlag adds a flag that names a file and must be given.
func fileFlag(c *cobra.Command, target *string, name, usage string) {
	c.Flags().StringVar(target, name, "", usage)
	_ = c.MarkFlagRequired(name) // fails only for a flag that does not exist
}

// readFile calls read with a file, or with stdin if path is "-", and the name it has in errors.
func readFile(c *cobra.Command, path string, read func(r io.Reader, name string) error) error {
	if path == "-" {
		return read(c.InOrStdin(), "stdin")
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return read(f, path)
}
