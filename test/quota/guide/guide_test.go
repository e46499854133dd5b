package guide

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../../.."

// Without a cluster: every command of the guide is one that TestGuide gives, or skips for a reason, in the guide's order. Where the reason
// is another test, that one gives it.
func TestEveryCommandIsPlayed(t *testing.T) {
	page := file(t, "docs/admin.md")
	all := plays(t)
	whole, ok := all["TestGuide"]
	if !ok || len(whole.sections) > 0 {
		t.Fatal("TestGuide does not read the whole guide")
	}
	for name, play := range all {
		commands := Commands(page, play.sections...)
		for i, step := range play.steps {
			if i == len(commands) {
				t.Fatalf("%s gives %q, and the guide has no more", name, step.begins)
			}
			if !strings.HasPrefix(commands[i].Text, step.begins) {
				t.Fatalf("%s gives %q, where the guide has %q", name, step.begins, commands[i].Text)
			}
			if step.method != "skips" {
				continue
			}
			for _, other := range regexp.MustCompile(`Test\w+`).FindAllString(step.why, -1) {
				if p, ok := all[other]; !ok || !slices.Contains(p.sections, commands[i].Section) {
					t.Errorf("%s skips %q for %s, which does not read section %q", name, step.begins, other, commands[i].Section)
				}
			}
			if step.why == "" {
				t.Errorf("%s skips %q without a reason", name, step.begins)
			}
		}
		if left := commands[len(play.steps):]; len(left) > 0 {
			t.Errorf("%s does not give %q", name, left)
		}
	}
}

// The operator is installed as the page on it says.
func TestInstallsAsTheOtherPage(t *testing.T) {
	install := file(t, "docs/install.md")
	for _, command := range Commands(file(t, "docs/admin.md")) {
		if line := strings.ReplaceAll("\n"+command.Text, "\n", "\n    "); strings.HasPrefix(command.Text, "helm ") && !strings.Contains(install, line) {
			t.Errorf("docs/install.md does not have%s", line)
		}
	}
}

func TestRead(t *testing.T) {
	const page = "# Title\n\n    kubectl get nodes\n\n## One\n\n    kubectl patch x -p '\n      a:\n        b: 1'\n    x patched\n    helm install y \\\n      --wait\n\n" +
		"What it says:\n\n    Pending: sed says\n\n    kind: Topology\n    spec: {}\n\n## Two\n\n    $ sed s/a/b/ file\n    b"
	want := []Command{
		{"", "kubectl get nodes", ""},
		{"One", "kubectl patch x -p '\n  a:\n    b: 1'", "x patched\n"},
		{"One", "helm install y \\\n  --wait", ""},
		{"Two", "sed s/a/b/ file", "b\n"},
	}
	if got := Commands(page); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got := Commands(page, "Two"); !slices.Equal(got, want[3:]) {
		t.Errorf("section Two has %q", got)
	}
	if got := Manifest(page, "kind: Topology"); got != "kind: Topology\nspec: {}\n" {
		t.Errorf("the manifest is %q", got)
	}
}

// play is what a test of test/quota does with the guide.
type play struct {
	sections []string
	steps    []step
}

type step struct{ method, begins, why string }

// plays are the tests that read the guide, by name: g := c.guide(sections...), and then g.gives and its like, for one command each.
func plays(t *testing.T) map[string]*play {
	t.Helper()
	files, err := filepath.Glob("../*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*play{}
	for _, name := range files {
		source, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, declared := range source.Decls {
			function, ok := declared.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(function.Name.Name, "Test") {
				continue
			}
			ast.Inspect(function, func(n ast.Node) bool {
				on, method, words := call(n)
				switch {
				case on == "c" && method == "guide":
					all[function.Name.Name] = &play{sections: words}
				case on == "g" && slices.Contains([]string{"next", "gives", "sees", "refused", "skips"}, method):
					p := all[function.Name.Name]
					p.steps = append(p.steps, step{method, words[0], strings.Join(words[1:], "")})
				}
				return true
			})
		}
	}
	return all
}

// call of a method of a variable, with the words that it is given.
func call(n ast.Node) (on, method string, words []string) {
	c, ok := n.(*ast.CallExpr)
	if !ok {
		return "", "", nil
	}
	selector, ok := c.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", "", nil
	}
	variable, ok := selector.X.(*ast.Ident)
	if !ok {
		return "", "", nil
	}
	for _, argument := range c.Args {
		if literal, ok := argument.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if word, err := strconv.Unquote(literal.Value); err == nil {
				words = append(words, word)
			}
		}
	}
	return variable.Name, selector.Sel.Name, words
}

func file(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
