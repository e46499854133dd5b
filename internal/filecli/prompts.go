package filecli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/prompts"
)

func promptsCommand() *cobra.Command {
	c := &cobra.Command{Use: "prompts", Short: "Import or generate a prompt set"}
	c.AddCommand(importCommand(), generateCommand())
	return c
}

func importCommand() *cobra.Command {
	var in, out string
	c := &cobra.Command{
		Use:   "import --in X.csv --out P.jsonl",
		Short: "Check a prompt set (CSV by column name, or JSONL) and write it as JSONL",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var set []contract.PromptLine
			err := readFile(c, in, func(r io.Reader, name string) (err error) {
				set, err = prompts.Read(r, name)
				return err
			})
			if err != nil {
				return err
			}
			return writePrompts(c, out, set)
		},
	}
	fileFlag(c, &in, "in", "prompt set to read, CSV or JSONL; - reads stdin")
	outFlag(c, &out, "JSONL file to write")
	return c
}

func generateCommand() *cobra.Command {
	var g contract.Generate
	var out string
	c := &cobra.Command{
		Use:   "generate --count 30 --seed 1 --out P.jsonl",
		Short: "Generate a prompt set, reproducibly",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			set, err := prompts.Generate(g)
			if err != nil {
				return err
			}
			return writePrompts(c, out, set)
		},
	}
	c.Flags().StringSliceVar(&g.Relations, "relations", nil, "types to use, such as LR,TL (default all six)")
	c.Flags().IntVar(&g.Count, "count", 30, "how many prompts")
	c.Flags().Uint64Var(&g.Seed, "seed", 1, "seed: the same seed gives the same set")
	c.Flags().StringVar(&g.Split, "split", "", "train, evaluation or test: sets of different splits never overlap (default the whole space)")
	outFlag(c, &out, "JSONL file to write")
	return c
}

func writePrompts(c *cobra.Command, out string, set []contract.PromptLine) error {
	to := newOutput(c, out)
	if err := to.write(func(w io.Writer) error { return prompts.Write(w, set) }); err != nil {
		return err
	}
	byType := map[string]int{}
	for _, p := range set {
		byType[p.Type]++
	}
	return to.summarize(struct {
		Prompts int            `json:"prompts"`
		ByType  map[string]int `json:"byType"`
	}{len(set), byType})
}
