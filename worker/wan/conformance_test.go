//go:build wan

// Package wan holds the conformance test of the Python runtime beside it; `make test-worker` runs it.
package wan

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/prompts"
	"github.com/spatialalign/operator/internal/stage/conformance"
)

const (
	// envPython names the interpreter of the worker's virtual environment.
	envPython = "WAN_PYTHON"
	// envServer makes the test binary be the program: a client of tests/forkserver.py at that socket.
	envServer = "WAN_TEST_SERVER"
)

func TestMain(m *testing.M) {
	if socket := os.Getenv(envServer); socket != "" {
		code, err := callServer(socket)
		if err != nil {
			fmt.Fprintln(os.Stderr, "call of the fork server:", err)
		}
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// TestConformance runs the Python runtime, with tiny random models of the real classes, against the stage contract.
func TestConformance(t *testing.T) {
	python := os.Getenv(envPython)
	if python == "" {
		t.Fatalf("%s is not set: run this by `make test-worker`", envPython)
	}
	model := filepath.Join(t.TempDir(), "model")
	t.Setenv("WAN_MODEL_PATH", model)
	t.Setenv("WAN_DETECTOR", "colour-blobs")
	t.Setenv("WAN_DEVICE", "cpu")
	t.Setenv("OMP_NUM_THREADS", "1")
	t.Setenv("WAN_START_METHOD", "forkserver")
	server := serve(t, python, model)
	var about struct {
		Model            contract.Model
		NumericsRevision string
		Detector         contract.Detector
	}
	if err := json.Unmarshal(run(t, python, "-m", "spatialalign_wan", "info"), &about); err != nil {
		t.Fatal(err)
	}
	lines, err := prompts.Generate(contract.Generate{Count: 2, Seed: 1, Split: prompts.SplitTrain})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(envServer, server)
	conformance.Run(t, conformance.Runtime{
		Command:          []string{os.Args[0]},
		Model:            about.Model,
		NumericsRevision: about.NumericsRevision,
		Detector:         about.Detector,
		SamplingSteps:    2,
		Training: contract.Training{
			Steps: 4, ScheduleSteps: 6, WarmupSteps: 1, CheckpointEverySteps: 2, PairsPerStep: 2, LearningRate: "0.001", Beta: "1", Lambda: "0.5", MarginClip: "5", LoRARank: 2, LoRAAlpha: 2,
		},
		Prompts:      lines,
		Slowly:       []string{"WAN_PACE_MILLISECONDS=300"},
		Reproducible: true,
	})
}

func run(t *testing.T, python string, arguments ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), python, arguments...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v", arguments, err)
	}
	return out
}

// serve starts the fork server, which makes tiny models in a folder, and gives its socket once it listens.
func serve(t *testing.T, python, model string) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	cmd := exec.CommandContext(t.Context(), python, "tests/forkserver.py", socket, model)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "PYTHONPATH=.:tests")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in ProcessState
		close(exited)
	}()
	t.Cleanup(func() {
		_ = stdin.Close() // tells it to end
		<-exited
	})
	for {
		if conn, err := net.Dial("unix", socket); err == nil {
			_ = conn.Close()
			return socket
		}
		select {
		case <-exited:
			t.Fatalf("the fork server ended: %s", cmd.ProcessState)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// callServer has the server run the program with this process's arguments, environment and outputs, passes signals on
// and gives the exit code.
func callServer(socket string) (int, error) {
	const failed = 1
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM)
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return failed, err
	}
	defer conn.Close()
	environment := map[string]string{}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		environment[name] = value
	}
	call, err := json.Marshal(map[string]any{"arguments": os.Args[1:], "environment": environment})
	if err != nil {
		return failed, err
	}
	rights := syscall.UnixRights(int(os.Stdout.Fd()), int(os.Stderr.Fd()))
	if _, _, err := conn.WriteMsgUnix(append(call, '\n'), rights, nil); err != nil {
		return failed, err
	}
	answers := bufio.NewScanner(conn)
	number := func() (int, error) {
		if !answers.Scan() {
			return 0, fmt.Errorf("no answer: %w", answers.Err())
		}
		return strconv.Atoi(answers.Text())
	}
	pid, err := number()
	if err != nil {
		return failed, err
	}
	go func() {
		for s := range signals {
			if number, ok := s.(syscall.Signal); ok {
				_ = syscall.Kill(pid, number) // it may have ended
			}
		}
	}()
	return number()
}
