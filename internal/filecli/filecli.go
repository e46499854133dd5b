// Package filecli holds the commands that work on files, without a cluster and without a store:
// score, pair and prompts. They replace the scripts published with the method.
//
// Every command writes its output to a temporary file beside it and renames that at the end, so that
// a failed run leaves no half file; its summary goes to stdout as one line of JSON.
package filecli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

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

// fileFlag adds a flag that names a file and must be given.
func fileFlag(c *cobra.Command, target *string, name, usage string) {
	c.Flags().StringVar(target, name, "", usage)
	_ = c.MarkFlagRequired(name) // fails only for a flag that does not exist
}

// writeFile calls write with a buffered writer to a temporary file beside path, which takes the
// place of path when everything went well.
func writeFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreClosed(f.Close()), os.Remove(f.Name()))
		}
	}()
	b := bufio.NewWriterSize(f, 256<<10)
	if err := write(b); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := f.Chmod(0o644); err != nil { // CreateTemp leaves 0600
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
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

// printJSON prints a command's summary.
func printJSON(c *cobra.Command, summary any) error {
	return json.NewEncoder(c.OutOrStdout()).Encode(summary)
}
