package parts

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// buildFlags are what the set's binaries depend on beside their sources.
func (s Set) buildFlags() []string {
	flags := []string{"-trimpath", "-buildvcs=false"}
	if s.tags != "" {
		flags = append(flags, "-tags", s.tags)
	}
	return flags
}

// Build makes sure that the named programs are in the set's cache and returns its folder. Only one process builds at a time:
// a second one waits and finds the work done. Progress goes to out.
func (s Set) Build(ctx context.Context, checkout string, names []string, out *os.File) (string, error) {
	bin, err := s.Dir(checkout)
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
	var wanted []program
	todo := missing(bin, names)
	for _, p := range s.programs {
		if slices.Contains(todo, p.name) {
			wanted = append(wanted, p)
		}
	}
	if len(wanted) == 0 {
		return bin, nil
	}
	if err := s.build(ctx, filepath.Join(checkout, s.folder), bin, wanted, out); err != nil {
		return "", err
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

// build compiles programs into a scratch folder and moves each to the cache in one step, so that the cache never holds
// half a binary. One run of the compiler makes them all: what they share is compiled once, and no core waits for a linker.
func (s Set) build(ctx context.Context, module, bin string, wanted []program, out *os.File) error {
	scratch, err := os.MkdirTemp(bin, ".build-")
	if err != nil {
		return fmt.Errorf("build of the cluster's programs: %w", err)
	}
	defer os.RemoveAll(scratch)
	flags, err := s.linkerFlags(ctx, module)
	if err != nil {
		return err
	}
	args := slices.Concat([]string{"build", "-v"}, s.buildFlags(), []string{"-ldflags", flags, "-o", scratch + string(filepath.Separator)})
	var names []string
	for _, p := range wanted {
		names = append(names, p.name)
		args = append(args, p.pkg)
	}
	fmt.Fprintln(out, "building", strings.Join(names, ", "), "(once per version)")
	if err := runWithProgress(goCommand(ctx, module, args...), out); err != nil {
		return fmt.Errorf("build of %s: %w", strings.Join(names, ", "), err)
	}
	for _, p := range wanted {
		if err := os.Rename(filepath.Join(scratch, executable(p.pkg)), filepath.Join(bin, p.name)); err != nil {
			return fmt.Errorf("build of %s: %w", p.name, err)
		}
	}
	return nil
}

var majorVersion = regexp.MustCompile(`^v[0-9]+$`)

// executable returns the file name that `go build` gives to the program of a package: its path's last element that is
// not a major version.
func executable(pkg string) string {
	if majorVersion.MatchString(path.Base(pkg)) {
		pkg = path.Dir(pkg)
	}
	return path.Base(pkg)
}

// linkerFlags strips the binaries and stamps the version that Kubernetes reports: without, it calls itself 0.0.0. The
// linker ignores the stamp in programs that lack Kubernetes' variables.
func (s Set) linkerFlags(ctx context.Context, module string) (string, error) {
	const strip = "-s -w"
	if s.stamped == "" {
		return strip, nil
	}
	list := goCommand(ctx, module, "list", "-m", "-f", "{{.Version}}", s.stamped)
	list.Stderr = os.Stderr
	output, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("version of %s: %w", s.stamped, err)
	}
	version := strings.TrimSpace(string(output))
	numbers := strings.Split(strings.TrimPrefix(version, "v"), ".")
	if len(numbers) < 2 {
		return "", fmt.Errorf("version of %s: %q is not like v1.2.3", s.stamped, version)
	}
	const variables = "k8s.io/component-base/version."
	return strip + fmt.Sprintf(" -X %[1]sgitVersion=%[2]s -X %[1]sgitMajor=%[3]s -X %[1]sgitMinor=%[4]s -X %[1]sgitTreeState=clean",
		variables, version, numbers[0], numbers[1]), nil
}

// goCommand runs go in the cluster's module, away from the caller's workspace and flags. Compilers and linkers are
// processes of seconds: collecting their garbage a quarter as often saves an eighth of their time.
func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append([]string{"GOGC=400"}, os.Environ()...)
	cmd.Env = append(cmd.Env, "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	return cmd
}

// runWithProgress runs `go build -v` and shows how many packages it has compiled: once a second on a terminal, else a
// line every 15 seconds. On failure what the compiler said is printed.
func runWithProgress(cmd *exec.Cmd, out *os.File) error {
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
		fmt.Fprintf(out, "compiled %d packages in %.0f s%s", seen.count(), time.Since(start).Seconds(), end)
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
