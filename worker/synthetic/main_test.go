package main

import (
	"bytes"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/info.json anew")

// What `synthetic info` prints is what AlignmentRuntimes must say: a changed file means that every
// manifest of the runtime changes with it.
func TestInfo(t *testing.T) {
	const golden = "testdata/info.json"
	var got bytes.Buffer
	if err := info(&got); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("info is now\n%sinstead of\n%s: run the test with -update and change the runtime's manifests", &got, want)
	}
}
