package filecli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

// newMode is the mode of an output that was not there before.
const newMode fs.FileMode = 0o644

// output is where a command writes its document, and so where its summary must not go.
type output struct {
	c      *cobra.Command
	path   string
	stdout bool
}

// newOutput understands --out: "-", and any path that leads to standard output, mean stdout.
func newOutput(c *cobra.Command, path string) output {
	return output{c, path, path == "-" || isStdout(path)}
}

// isStdout tells whether a path, such as /dev/stdout, is the very file that standard output goes to.
func isStdout(path string) bool {
	there, err := os.Stat(path)
	if err != nil {
		return false
	}
	stdout, err := os.Stdout.Stat()
	return err == nil && os.SameFile(there, stdout)
}

// write calls fn with a buffered writer to the output.
func (o output) write(fn func(io.Writer) error) error {
	if o.stdout {
		return buffered(o.c.OutOrStdout(), "stdout", fn)
	}
	return writeFile(o.path, fn)
}

// summarize prints the command's summary: to stdout, or to stderr where stdout holds the document.
func (o output) summarize(summary any) error {
	w := o.c.OutOrStdout()
	if o.stdout {
		w = o.c.ErrOrStderr()
	}
	return json.NewEncoder(w).Encode(summary)
}

// writeFile lets fn write to path. A regular file, also one that a symbolic link leads to, is replaced
// when everything went well and keeps its mode; pipes and devices are written to as they are.
func writeFile(path string, fn func(io.Writer) error) error {
	there, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s: the symbolic link leads to no file: create its target, or remove it", path)
		}
		return replaceFile(path, newMode, fn)
	case err != nil:
		return err
	case !there.Mode().IsRegular():
		return writeInto(path, fn)
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	return replaceFile(target, there.Mode().Perm(), fn)
}

// writeInto writes to what is there.
func writeInto(path string, fn func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(buffered(f, path, fn), f.Close())
}

// replaceFile writes to a temporary file beside path, which takes the place of path when everything
// went well, and is removed otherwise.
func replaceFile(path string, mode fs.FileMode, fn func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer removeOnSignal(f.Name())()
	defer func() {
		if err != nil {
			err = errors.Join(err, ignore(f.Close(), os.ErrClosed), ignore(os.Remove(f.Name()), fs.ErrNotExist))
		}
	}()
	if err := buffered(f, path, fn); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil { // CreateTemp leaves 0600
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

// removeOnSignal removes a file when the program is told to stop, and then lets the signal do what
// it does without us. The function that it returns ends the watch.
func removeOnSignal(path string) (stop func()) {
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case s := <-signals:
			_ = os.Remove(path) // the program ends: there is nobody to tell
			signal.Stop(signals)
			if self, err := os.FindProcess(os.Getpid()); err == nil {
				_ = self.Signal(s)
			}
		case <-done:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// buffered lets fn write to w, which has a name in errors, in large pieces.
func buffered(w io.Writer, name string, fn func(io.Writer) error) error {
	b := bufio.NewWriterSize(w, 256<<10)
	if err := fn(b); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}
