package filecli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/dsr"
	"github.com/spatialalign/operator/internal/jsonl"
	"github.com/spatialalign/operator/internal/pairing"
	"github.com/spatialalign/operator/internal/records"
	"github.com/spatialalign/operator/internal/scoring"
)

// pairSummary is what the pair command prints.
type pairSummary struct {
	Outcome       pairing.Outcome `json:"outcome"`
	Prompts       int             `json:"prompts"`
	UsablePrompts int             `json:"usablePrompts"`
	Winners       int             `json:"winners"`
	Losers        int             `json:"losers"`
	Invalid       int             `json:"invalid"`
	Pairs         int64           `json:"pairs"`
}

func pairCommand() *cobra.Command {
	winner, loser, margin := fractionFlag{dsr.Tenths(7)}, fractionFlag{dsr.Tenths(7)}, fractionFlag{}
	var scores, out string
	var iteration, most int
	c := &cobra.Command{
		Use:   "pair --scores S.jsonl --out pairs.jsonl",
		Short: "Build preference pairs from scores",
		Long: "Pairs every winner with every loser of the same prompt. INVALID and missing samples are neither.\n" +
			"Having no pairs is not an error: the outcome in the summary says why.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if iteration < 0 || iteration > records.MaxIteration {
				return fmt.Errorf("--iteration must be from 0 to %d, is %d", records.MaxIteration, iteration)
			}
			source := pairing.Source{Iteration: iteration}
			err := readFile(c, scores, func(r io.Reader, name string) error {
				return records.ReadScores(r, name, func(line contract.ScoreLine) error {
					source.Samples = append(source.Samples, scoring.PairingSample(line))
					return nil
				})
			})
			if err != nil {
				return err
			}
			set, err := pairing.Build([]pairing.Source{source}, pairing.Rules{
				Winner: winner.Float64(), Loser: loser.Float64(), MinMargin: margin.Float64(), MaxPairsPerPrompt: most,
			}, contract.Hash64)
			if err != nil {
				return err
			}
			to := newOutput(c, out)
			if err := to.write(func(w io.Writer) error { return writePairs(w, set) }); err != nil {
				return err
			}
			n := set.Counts
			return to.summarize(pairSummary{set.Outcome(), n.Prompts, n.UsablePrompts, n.Winners, n.Losers, n.Invalid, n.Pairs})
		},
	}
	fileFlag(c, &scores, "scores", "scores (JSONL); - reads stdin")
	outFlag(c, &out, "JSONL file to write")
	c.Flags().Var(&winner, "winner-threshold", "a sample wins with at least this score")
	c.Flags().Var(&loser, "loser-threshold", "a sample loses with less than this score")
	c.Flags().Var(&margin, "min-margin", "least difference of a pair's scores")
	c.Flags().IntVar(&most, "max-pairs-per-prompt", 0, "keep at most that many pairs of a prompt, chosen by a hash of their ids (default all)")
	c.Flags().IntVar(&iteration, "iteration", 1, "iteration that the pairs are recorded under")
	return c
}

func writePairs(w io.Writer, set *pairing.Set) error {
	encoder := jsonl.NewEncoder[contract.PairLine](w)
	for p := range set.Pairs() {
		line := scoring.PairLine(p)
		if err := encoder.Write(&line); err != nil {
			return err
		}
	}
	return nil
}
