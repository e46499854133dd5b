package main

import (
	"bytes"
	"testing"

	"github.com/spatialalign/operator/internal/golden"
)

// What `synthetic info` prints is what AlignmentRuntimes must say: a changed file means that every
// manifest of the runtime changes with it.
func TestInfo(t *testing.T) {
	var got bytes.Buffer
	if err := info(&got); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "info.json", got.String())
}
