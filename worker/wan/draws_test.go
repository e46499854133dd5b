//go:build wan

package wan

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/pairing"
)

// TestDraws: the list that tests/test_objective.py expects of the Python side is what internal/pairing draws.
func TestDraws(t *testing.T) {
	drawer, err := pairing.NewDrawer([]pairing.Origin{{PromptID: "p2", Iteration: 1}, {PromptID: "p1", Iteration: 2},
		{PromptID: "p1", Iteration: 1}, {PromptID: "p1", Iteration: 1}, {PromptID: "p3", Iteration: 7}}, contract.Hash64)
	if err != nil {
		t.Fatal(err)
	}
	var drawn []string
	for n := range 12 {
		drawn = append(drawn, strconv.Itoa(drawer.Draw(18446744073709551615, 3, n)))
	}
	source, err := os.ReadFile("tests/test_objective.py")
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`(?m)^GO_DRAWS = \[(.*)\]$`).FindSubmatch(source)
	if match == nil {
		t.Fatal("tests/test_objective.py has no GO_DRAWS")
	}
	if diff := cmp.Diff(strings.Join(drawn, ", "), string(match[1])); diff != "" {
		t.Errorf("(-Go +Python):\n%s", diff)
	}
}
