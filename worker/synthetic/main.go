// Command synthetic is the runtime that needs no GPU: the stages sample, track and train of the
// stage contract (docs/contract.md), around a small text-to-video model (docs/synthetic.md).
//
//	synthetic sample|track|train --spec FILE --spec-digest DIGEST
//	synthetic info
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/stage"
	"github.com/spatialalign/operator/worker/synthetic/stages"
)

// version is set by the linker.
var version = "dev"

func main() {
	if len(os.Args) == 2 && os.Args[1] == "info" {
		if err := info(os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "synthetic info:", err)
			os.Exit(int(contract.ExitMismatch))
		}
		return
	}
	pace, err := stages.ParsePace(os.Getenv(stages.EnvPace))
	if err != nil {
		fmt.Fprintln(os.Stderr, "synthetic:", err)
		os.Exit(int(contract.ExitBadSpec))
	}
	stage.Main(version, stages.All(pace))
}

// info prints what an AlignmentRuntime says about this image, as JSON.
func info(w io.Writer) error {
	about, err := stages.Describe()
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(about)
}
