//go:build quota

package quota

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/spatialalign/operator/test/quota/guide"
)

// reader of docs/admin.md, who gives its commands to the cluster. test/quota/guide checks, without one, that none is left out.
type reader struct {
	cluster
	commands       []guide.Command
	swaps          []string
	given, skipped int
}

// guide reads the commands of some sections, or of all.
func (c cluster) guide(sections ...string) *reader {
	c.Helper()
	commands := guide.Commands(c.file("docs/admin.md"), sections...)
	if len(commands) == 0 {
		c.Fatalf("the guide has no commands in sections %q", sections)
	}
	return &reader{cluster: c, commands: commands}
}

// instead of a word of the guide this cluster has another.
func (g *reader) instead(word, here string) { g.swaps = append(g.swaps, word, here) }

// next command, which must begin so, as this cluster is to be given it.
func (g *reader) next(begins string) guide.Command {
	g.Helper()
	if g.given == len(g.commands) || !strings.HasPrefix(g.commands[g.given].Text, begins) {
		g.Fatalf("after %d commands the guide has %q, and not %q", g.given, g.commands[g.given:], begins)
	}
	next := g.commands[g.given]
	g.given++
	next.Text = strings.NewReplacer(g.swaps...).Replace(next.Text)
	return next
}

// gives the next command, which must go well, and show something.
func (g *reader) gives(begins, shows string) {
	g.Helper()
	out, err := g.shell(g.next(begins).Text)
	if err != nil || !regexp.MustCompile(shows).MatchString(out) {
		g.Fatalf("it is to show %s, and shows, %v:\n%s", shows, err, out)
	}
}

// skips the next command, and says why.
func (g *reader) skips(begins, why string) {
	g.Helper()
	g.Logf("not given: %s (%s)", g.next(begins).Text, why)
	g.skipped++
}

// sees what the next command, a question, shows in time; what the guide says it shows, unless told.
func (g *reader) sees(begins, shows string) {
	g.Helper()
	next := g.next(begins)
	if shows == "" {
		shows = pattern(next.Shown)
	}
	ask, out, limit := next.Text, "", time.Now().Add(3*time.Minute)
	for {
		var err error
		if out, err = g.shell(ask); err != nil {
			g.Fatal(err)
		}
		if regexp.MustCompile(shows).MatchString(out) {
			return
		}
		if time.Now().After(limit) {
			g.Fatalf("it is to show %s, and shows\n%s\n%s", shows, out, g.describe())
		}
		time.Sleep(2 * time.Second)
	}
}

// refused is the next command, in the words that the guide shows.
func (g *reader) refused(begins string) {
	g.Helper()
	next := g.next(begins)
	if _, err := g.shell(next.Text); err == nil || !regexp.MustCompile(pattern(next.Shown)).MatchString(err.Error()) {
		g.Errorf("it is to be refused with\n%s\nand is answered: %v", next.Shown, err)
	}
}

// pattern of what the guide shows, where ... stands for any words. When it shows nothing, nothing matches.
func pattern(shown string) string {
	if shown == "" {
		return `[^\s\S]`
	}
	return strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(shown)), `\.\.\.`, ".*")
}

// done checks that no command is left.
func (g *reader) done() {
	g.Helper()
	if left := g.commands[g.given:]; len(left) > 0 {
		g.Errorf("the guide has more commands: %q", left)
	}
}

// shell runs a command as who reads the guide does, with the plugin in the PATH.
func (c cluster) shell(line string) (string, error) {
	c.Helper()
	c.Logf("$ %s", line)
	bin, err := filepath.Abs(filepath.Join(root, "bin"))
	if err != nil {
		c.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(c.Context()), "bash", "-euo", "pipefail", "-c", line)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w\n%s%s", line, err, out, said.String())
	}
	return string(out), nil
}

// manifest writes an object to a file, and returns its path.
func (c cluster) manifest(o client.Object) string {
	c.Helper()
	text, err := yaml.Marshal(o)
	if err != nil {
		c.Fatal(err)
	}
	path := filepath.Join(c.TempDir(), o.GetName()+".yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		c.Fatal(err)
	}
	return path
}
