package filecli

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
)

const (
	onePair        = `{"promptID":"p","iteration":1,"winner":"a","loser":"b","winnerScore":0.9,"loserScore":0.2}` + "\n"
	onePairSummary = `{"outcome":"Pairs","prompts":1,"usablePrompts":1,"winners":1,"losers":1,"invalid":0,"pairs":1}` + "\n"
)

// pairTo runs the pair command on one winner and one loser.
func pairTo(t *testing.T, out string) (stdout, stderr string) {
	t.Helper()
	root := &cobra.Command{Use: "spatialalign", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(Commands()...)
	var o, e bytes.Buffer
	root.SetOut(&o)
	root.SetErr(&e)
	root.SetIn(strings.NewReader(scoreLine("a", "p", "0.9") + scoreLine("b", "p", "0.2")))
	root.SetArgs([]string{"pair", "--scores", "-", "--out", out})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	return o.String(), e.String()
}

// TestOutputToStdout: stdout holds the document alone.
func TestOutputToStdout(t *testing.T) {
	if stdout, stderr := pairTo(t, "-"); stdout != onePair || stderr != onePairSummary {
		t.Errorf("stdout\n%sstderr\n%s", stdout, stderr)
	}
}

// TestOutputToPipe: what is no regular file is written to and stays what it is.
func TestOutputToPipe(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("pipe", link); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{pipe, link} {
		// Open for both, so that neither end waits for the other: the text fits the pipe's buffer.
		r, err := os.OpenFile(pipe, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if stdout, _ := pairTo(t, out); stdout != onePairSummary {
			t.Errorf("stdout %s", stdout)
		}
		if got, err := bufio.NewReader(r).ReadString('\n'); err != nil || got != onePair {
			t.Errorf("the pipe got %q, %v", got, err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(pipe); err != nil || info.Mode().Type() != os.ModeNamedPipe {
			t.Errorf("the pipe became %v, %v", info, err)
		}
	}
	wantFiles(t, dir, "link", "pipe")
}

// TestOutputKeepsLinkAndMode: a link is followed, and a file that was there keeps its mode.
func TestOutputKeepsLinkAndMode(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	target := put(t, elsewhere, "pairs.jsonl", "old")
	if err := os.Chmod(target, 0o640); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	pairTo(t, link)
	if to, err := os.Readlink(link); err != nil || to != target {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	if got := read(t, target); got != onePair {
		t.Errorf("got %s", got)
	}
	if info, err := os.Stat(target); err != nil || info.Mode() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	wantFiles(t, dir, "link")
	wantFiles(t, elsewhere, "pairs.jsonl")
}

func TestOutputRefuses(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("nothing", link); err != nil {
		t.Fatal(err)
	}
	for out, message := range map[string]string{link: "leads to no file", dir: "is a directory"} {
		_, err := runCommand("", "pair", "--scores", "-", "--out", out)
		if err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("error %v, want %q", err, message)
		}
	}
	wantFiles(t, dir, "link")
}

// interruptedFile names, in the child process of TestInterrupt, the file to write.
const interruptedFile = "SPATIALALIGN_TEST_INTERRUPTED_FILE"

// TestInterrupt: a signal ends the program as ever, but leaves no temporary file.
func TestInterrupt(t *testing.T) {
	if path := os.Getenv(interruptedFile); path != "" {
		err := writeFile(path, func(io.Writer) error {
			fmt.Println("writing")
			_, err := io.Copy(io.Discard, os.Stdin) // until the signal
			return err
		})
		t.Fatalf("the signal did not end the program: %v", err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		dir := t.TempDir()
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestInterrupt$")
		child.Env = append(os.Environ(), interruptedFile+"="+put(t, dir, "out", "old"))
		stdin, err := child.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "writing\n" {
			t.Errorf("the child says %q, %v", line, err)
		}
		if err := child.Process.Signal(sig); err != nil {
			t.Error(err)
		}
		_ = child.Wait() // an error: it is ended by a signal, which follows
		_ = stdin.Close()
		if status, ok := child.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != sig {
			t.Errorf("%v: the child ended with %v", sig, child.ProcessState)
		}
		if got := read(t, filepath.Join(dir, "out")); got != "old" {
			t.Errorf("%v: the file holds %q", sig, got)
		}
		wantFiles(t, dir, "out")
	}
}
