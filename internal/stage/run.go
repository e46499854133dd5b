package stage

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
)

// Environment of the harness beside that of package contract.
const (
	// EnvHeartbeat is how many seconds may pass without a step before /healthz fails; default 300.
	EnvHeartbeat = "SPATIALALIGN_HEARTBEAT_SECONDS"
	// EnvProgressAddress is where progress is served; default ":9400".
	EnvProgressAddress = "SPATIALALIGN_PROGRESS_ADDRESS"
	// EnvTerminationLog is the file for the termination message; default contract.TerminationPath.
	EnvTerminationLog = "SPATIALALIGN_TERMINATION_LOG"

	defaultHeartbeat = 300 * time.Second
)

// Deps are what Run needs of the outside world.
type Deps struct {
	Getenv func(string) string
	// Stdout gets the termination message when there is no file at TerminationPath; Stderr the log.
	Stdout, Stderr  io.Writer
	TerminationPath string
	Now             func() time.Time
	Version         string
}

// Main runs the stage program and exits. It is the whole of a runtime's main function.
func Main(version string, stages map[contract.Stage]Func) {
	// Pods of other users in the volume's group must be able to add files to our directories.
	syscall.Umask(0o002)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	code := Run(ctx, os.Args[1:], stages, Deps{
		Getenv: os.Getenv, Stdout: os.Stdout, Stderr: os.Stderr,
		TerminationPath: cmp.Or(os.Getenv(EnvTerminationLog), contract.TerminationPath), Now: time.Now, Version: version,
	})
	stop()
	os.Exit(int(code))
}

// Run runs `<stage> --spec <file> --spec-digest <digest>` to its end and gives the exit code. When ctx
// ends the stage is asked to save its progress.
func Run(ctx context.Context, args []string, stages map[contract.Stage]Func, deps Deps) contract.ExitCode {
	log := slog.New(slog.NewJSONHandler(deps.Stderr, nil))
	termination, err := run(ctx, args, stages, deps, log)
	code := exitCode(ctx, err)
	if err != nil {
		log.Error("stage failed", "class", code.Class(), "exitCode", int(code), "error", err.Error())
		termination = &contract.Termination{Class: code.Class(), Message: err.Error()}
	}
	message, err := encodeTermination(termination)
	if err != nil {
		log.Error("termination message", "error", err.Error())
		code = contract.ExitBug
	}
	if err := writeTermination(deps, message); err != nil {
		// The manifest and the exit code still say how it ended.
		log.Error("termination message", "error", err.Error())
	}
	return code
}

func run(ctx context.Context, args []string, stages map[contract.Stage]Func, deps Deps, log *slog.Logger) (*contract.Termination, error) {
	c, err := parseCall(args, stages, deps.Getenv)
	if err != nil {
		return nil, &Error{Code: contract.ExitBadSpec, Err: err}
	}
	spec, err := readSpec(c.specFile, c.specDigest, c.stage)
	if err != nil {
		return nil, &Error{Code: contract.ExitBadSpec, Err: err}
	}
	store, err := artifact.Open(ctx, c.store)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	t := &Task{
		Spec: spec, SpecDigest: c.specDigest, Store: store, Progress: newProgress(deps.Now, c.heartbeat),
		Log:     log.With("stage", c.stage, "shard", c.shard, "attempt", c.attempt),
		Attempt: c.attempt, Shard: c.shard, Shards: c.shards, PodUID: c.podUID, Version: deps.Version, Image: deps.Getenv(contract.EnvImage),
		Nodes: c.nodes, Rank: c.rank, Master: c.master, Heartbeat: c.heartbeat,
	}
	t.newManifest()
	defer t.serve(ctx, c.progressAddress)()
	if termination, err := t.adopt(ctx); err != nil || termination != nil {
		return termination, err
	}
	if err := protect(ctx, t, stages[c.stage]); err != nil {
		return nil, err
	}
	if t.Rank > 0 {
		return follower(), nil
	}
	// The work is done: a SIGTERM that arrives now must not lose it.
	return t.commit(context.WithoutCancel(ctx))
}

// protect turns a panic into an error, with the stack in the log.
func protect(ctx context.Context, t *Task, work Func) (err error) {
	defer func() {
		if p := recover(); p != nil {
			t.Log.Error("panic", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = Errorf(contract.ExitBug, "panic: %v", p)
		}
	}()
	return work(ctx, t)
}

// serve answers on the progress port until the returned function is called. A port that is taken is
// no reason to fail: progress is lost, nothing else.
func (t *Task) serve(ctx context.Context, address string) (stop func()) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		t.Log.Warn("no progress will be served", "error", err.Error())
		return func() {}
	}
	server := &http.Server{Handler: t.Progress.handler(t.Spec.Stage), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			t.Log.Warn("progress is no longer served", "error", err.Error())
		}
	}()
	return func() { _ = server.Close() }
}

// call is the parsed arguments and environment.
type call struct {
	stage                  contract.Stage
	specFile, specDigest   string
	store, podUID          string
	progressAddress        string
	attempt, shard, shards int
	nodes, rank            int
	master                 string
	heartbeat              time.Duration
}

var podUIDPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,63}$`)

func parseCall(args []string, stages map[contract.Stage]Func, getenv func(string) string) (*call, error) {
	known := make([]string, 0, len(stages))
	for _, name := range slices.Sorted(maps.Keys(stages)) {
		known = append(known, string(name))
	}
	usage := fmt.Sprintf("usage: %s %s <file> %s sha256:<hex>", strings.Join(known, "|"), contract.FlagSpec, contract.FlagSpecDigest)
	if len(args) == 0 {
		return nil, errors.New("no stage is named; " + usage)
	}
	c := &call{stage: contract.Stage(args[0])}
	if stages[c.stage] == nil {
		return nil, fmt.Errorf("stage %q is not one of this program's; %s", args[0], usage)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&c.specFile, strings.TrimLeft(contract.FlagSpec, "-"), "", "file that holds the spec")
	flags.StringVar(&c.specDigest, strings.TrimLeft(contract.FlagSpecDigest, "-"), "", "digest of that file")
	if err := flags.Parse(args[1:]); err != nil {
		return nil, fmt.Errorf("%w; %s", err, usage)
	}
	if flags.NArg() > 0 || c.specFile == "" || !artifact.ValidDigest(c.specDigest) {
		return nil, fmt.Errorf("arguments %q: want both flags and nothing else; %s", args[1:], usage)
	}
	if err := c.parseEnv(getenv); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *call) parseEnv(getenv func(string) string) error {
	number := func(name string, fallback, low, high int) (int, error) {
		text := getenv(name)
		if text == "" {
			return fallback, nil
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < low || n > high {
			return 0, fmt.Errorf("environment variable %s is %q, want a number from %d to %d", name, text, low, high)
		}
		return n, nil
	}
	const many = 1 << 20
	var errs [5]error
	var seconds int
	c.attempt, errs[0] = number(contract.EnvAttempt, 0, 0, many)
	c.shards, errs[1] = number(contract.EnvShards, 1, 1, many)
	if c.nodes = 1; c.stage == contract.Train {
		c.nodes, errs[4] = number(contract.EnvNodes, 1, 1, many)
	}
	index, err := number(contract.EnvShard, 0, 0, max(c.shards, c.nodes)-1)
	if errs[2] = err; c.nodes > 1 {
		c.rank = index
	} else {
		c.shard = index
	}
	seconds, errs[3] = number(EnvHeartbeat, int(defaultHeartbeat.Seconds()), 1, many)
	c.heartbeat = time.Duration(seconds) * time.Second
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	if c.nodes > 1 {
		if c.shards > 1 {
			return fmt.Errorf("environment variable %s is %d, want 1 where %s is %d", contract.EnvShards, c.shards, contract.EnvNodes, c.nodes)
		}
		host, port := getenv(contract.EnvMasterAddress), getenv(contract.EnvMasterPort)
		if host == "" || port == "" {
			return fmt.Errorf("environment variables %s and %s are %q and %q, want host and port of the first of %d pods", contract.EnvMasterAddress, contract.EnvMasterPort, host, port, c.nodes)
		}
		c.master = net.JoinHostPort(host, port)
	}
	if c.store = getenv(contract.EnvStore); c.store == "" {
		return fmt.Errorf("environment variable %s is not set: want file:///dir or s3://bucket/prefix", contract.EnvStore)
	}
	if c.podUID = getenv(contract.EnvPodUID); !podUIDPattern.MatchString(c.podUID) {
		return fmt.Errorf("environment variable %s is %q, want the pod's UID", contract.EnvPodUID, c.podUID)
	}
	if c.progressAddress = getenv(EnvProgressAddress); c.progressAddress == "" {
		c.progressAddress = fmt.Sprintf(":%d", contract.ProgressPort)
	}
	return nil
}
