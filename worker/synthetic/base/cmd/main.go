// Command cmd pre-trains the synthetic base model and writes its weights:
//
//	go run ./worker/synthetic/base/cmd --out worker/synthetic/base/base.safetensors
//
// On one architecture the same seed and steps give the same bytes.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/worker/synthetic/base"
	"github.com/spatialalign/operator/worker/synthetic/model"
)

func main() {
	recipe := base.Published
	out := flag.String("out", "base.safetensors", "file to write")
	flag.Uint64Var(&recipe.Seed, "seed", recipe.Seed, "seed of every draw")
	flag.IntVar(&recipe.Steps, "steps", recipe.Steps, "optimizer steps")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, recipe, *out)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pre-training:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, recipe base.Recipe, out string) error {
	var sum float64
	weights, err := base.Pretrain(ctx, recipe, func(step int, loss float64) {
		sum += loss
		if (step+1)%500 == 0 {
			fmt.Printf("step %5d of %d  loss %.4f\n", step+1, recipe.Steps, sum/500)
			sum = 0
		}
	})
	if err != nil {
		return err
	}
	data, err := model.EncodeWeights(weights, base.Vocabulary())
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, data, 0o644); err != nil {
		return err
	}
	fmt.Println(out, len(data), "bytes", contract.Digest(data))
	return nil
}
