package parts

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

var buildFlags = []string{"-trimpath", "-buildvcs=false"}

// Build makes sure that the named programs are in the cache and returns its folder. Only one process builds at a time:
// a second one waits and finds the work done. Progress goes to out.
func Build(ctx context.Context, checkout string, names []string, out *os.File) (string, error) {
	bin, err := Dir(checkout)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", fmt.Errorf("no place to keep binaries: %w", err)
	}
	if len(missing(bin, names)) == 0 {
		return bin, nil
	}
	lock, err := os.OpenFile(filepath.Join(bin, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", fmt.Errorf("no place to keep binaries: %w", err)
	}
	defer lock.Close()
	if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		fmt.Fprintln(out, "waiting for another build of the same programs")
		if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
			return "", fmt.Errorf("lock of %s: %w", bin, err)
		}
	}
	todo := missing(bin, names)
	for _, m := range modules {
		var wanted []program
		for _, p := range m.programs {
			if slices.Contains(todo, p.name) {
				wanted = append(wanted, p)
			}
		}
		if len(wanted) == 0 {
			continue
		}
		if err := m.build(ctx, checkout, bin, wanted, out); err != nil {
			return "", err
		}
	}
	return bin, nil
}

// missing returns those of the named programs that the folder lacks.
func missing(bin string, names []string) []string {
	var absent []string
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			absent = append(absent, name)
		}
	}
	return absent
}

// build compiles programs of one module into a scratch folder and moves each to the cache in one step, so that the
// cache never holds half a binary.
func (m module) build(ctx context.Context, checkout, bin string, wanted []program, out *os.File) error {
	source := filepath.Join(checkout, "hack/localcluster", m.dir)
	scratch, err := os.MkdirTemp(bin, ".build-")
	if err != nil {
		return fmt.Errorf("build of %s: %w", m.dir, err)
	}
	defer os.RemoveAll(scratch)
	ldflags, err := m.ldflags(ctx, source)
	if err != nil {
		return err
	}
	// One package is built to a file, as its default name need not be the program's; several go to a folder at once,
	// so that the linker of one runs beside the compiler of another.
	target := scratch + string(filepath.Separator)
	var names, packages []string
	for _, p := range wanted {
		names = append(names, p.name)
		packages = append(packages, p.pkg)
	}
	if len(wanted) == 1 {
		target = filepath.Join(scratch, names[0])
	}
	args := slices.Concat([]string{"build", "-v"}, buildFlags, []string{"-ldflags", ldflags, "-o", target}, packages)
	cmd := goCommand(ctx, source, args...)
	if err := runWithProgress(cmd, strings.Join(names, ", "), out); err != nil {
		return fmt.Errorf("build of %s: %w", strings.Join(names, ", "), err)
	}
	for _, name := range names {
		if err := os.Rename(filepath.Join(scratch, name), filepath.Join(bin, name)); err != nil {
			return fmt.Errorf("build of %s: %w", name, err)
		}
	}
	return nil
}

// ldflags strips the binaries and, for Kubernetes, stamps the version that it reports: without, it calls itself 0.0.0.
func (m module) ldflags(ctx context.Context, source string) (string, error) {
	if m.versioned == "" {
		return "-s -w", nil
	}
	list := goCommand(ctx, source, "list", "-m", "-f", "{{.Version}}", m.versioned)
	list.Stderr = os.Stderr
	output, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("version of %s: %w", m.versioned, err)
	}
	version := strings.TrimSpace(string(output))
	numbers := strings.Split(strings.TrimPrefix(version, "v"), ".")
	if len(numbers) < 2 {
		return "", fmt.Errorf("version of %s: %q is not like v1.2.3", m.versioned, version)
	}
	const variables = "k8s.io/component-base/version."
	return fmt.Sprintf("-s -w -X %[1]sgitVersion=%[2]s -X %[1]sgitMajor=%[3]s -X %[1]sgitMinor=%[4]s -X %[1]sgitTreeState=clean",
		variables, version, numbers[0], numbers[1]), nil
}

// goCommand runs go in a nested module, away from the caller's workspace and flags.
func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	return cmd
}

// runWithProgress runs `go build -v` and shows how many packages it has compiled: once a second on a terminal, else a
// line every 15 seconds. On failure what the compiler said is printed.
func runWithProgress(cmd *exec.Cmd, what string, out *os.File) error {
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	var seen buildOutput
	var reading sync.WaitGroup
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	reading.Go(func() { seen.read(stderr) })
	finished := make(chan error, 1)
	go func() {
		reading.Wait()
		finished <- cmd.Wait()
	}()
	interval, end := 15*time.Second, "\n"
	if term.IsTerminal(int(out.Fd())) {
		interval, end = time.Second, "\r"
	}
	show := func(end string) {
		fmt.Fprintf(out, "building %s: %d packages, %.0f s%s", what, seen.count(), time.Since(start).Seconds(), end)
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	show(end)
	for {
		select {
		case <-tick.C:
			show(end)
		case err := <-finished:
			show("\n")
			if err != nil {
				fmt.Fprint(out, seen.complaints())
			}
			return err
		}
	}
}

// buildOutput tells the package names that `go build -v` prints from what it complains about.
type buildOutput struct {
	mu       sync.Mutex
	packages int
	rest     []string
}

func (b *buildOutput) read(from io.Reader) {
	for lines := bufio.NewScanner(from); lines.Scan(); {
		b.add(lines.Text())
	}
}

func (b *buildOutput) add(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case strings.HasPrefix(line, "go: downloading "):
	case strings.ContainsAny(line, " \t"), strings.HasPrefix(line, "#"):
		b.rest = append(b.rest, line)
	default:
		b.packages++
	}
}

func (b *buildOutput) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.packages
}

func (b *buildOutput) complaints() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.rest) == 0 {
		return ""
	}
	return strings.Join(b.rest, "\n") + "\n"
}
