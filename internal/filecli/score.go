package filecli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/dsr"
	"github.com/spatialalign/operator/internal/jsonl"
	"github.com/spatialalign/operator/internal/prompts"
	"github.com/spatialalign/operator/internal/records"
	"github.com/spatialalign/operator/internal/scoring"
)

// scoreSummary is what the score command prints.
type scoreSummary struct {
	Scored    int                `json:"scored"`
	Invalid   int                `json:"invalid"`
	Missing   int                `json:"missing"`
	MeanScore *float64           `json:"meanScore"` // null when nothing was scored
	Accuracy  map[string]float64 `json:"accuracy"`  // by threshold, over all samples asked for
}

func scoreCommand() *cobra.Command {
	var promptsPath, tracksPath, out string
	var perPrompt int
	c := &cobra.Command{
		Use:   "score --prompts P.jsonl --tracks T.jsonl.gz --out S.jsonl",
		Short: "Compute the DSR-Scores of tracked samples",
		Long: "Scores every track and prints a summary. Accuracy is over all samples asked for: INVALID and\n" +
			"missing ones are failures. With --samples-per-prompt N, N are asked for of each prompt; without\n" +
			"it, those that the tracks hold, and one of a prompt that has none.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("samples-per-prompt") && perPrompt < 1 {
				return fmt.Errorf("--samples-per-prompt must be at least 1, is %d", perPrompt)
			}
			set, err := prompts.ReadFile(promptsPath)
			if err != nil {
				return err
			}
			run, err := newScoreRun(set, perPrompt)
			if err != nil {
				return err
			}
			to := newOutput(c, out)
			err = to.write(func(w io.Writer) error {
				return readFile(c, tracksPath, func(r io.Reader, name string) error {
					return run.score(c.Context(), r, name, w)
				})
			})
			if err != nil {
				return err
			}
			return to.summarize(run.finish())
		},
	}
	fileFlag(c, &promptsPath, "prompts", "prompt set, CSV or JSONL")
	fileFlag(c, &tracksPath, "tracks", "tracks (JSONL, may be gzipped); - reads stdin")
	outFlag(c, &out, "JSONL file to write the scores to")
	c.Flags().IntVar(&perPrompt, "samples-per-prompt", 0, "how many samples of each prompt were asked for")
	return c
}

// scoreRun scores one file of tracks.
type scoreRun struct {
	perPrompt int // 0: as many as there are
	prompts   []contract.PromptLine
	types     map[string]dsr.Type // by prompt id
	found     map[string]int      // samples by prompt id
	lines     map[string]int      // line by sample id
	summary   scoring.Summary
}

func newScoreRun(set []contract.PromptLine, perPrompt int) (*scoreRun, error) {
	run := &scoreRun{
		perPrompt: perPrompt, prompts: set,
		types: make(map[string]dsr.Type, len(set)), found: make(map[string]int, len(set)), lines: map[string]int{},
	}
	for _, p := range set {
		t, err := dsr.ParseType(p.Type)
		if err != nil {
			return nil, fmt.Errorf("prompt %s: %w", p.PromptID, err)
		}
		run.types[p.PromptID] = t
	}
	return run, nil
}

// scoredChunk is what a worker makes of a chunk of tracks.
type scoredChunk struct {
	samples []scoring.Sample
	numbers []int        // line of each sample
	text    bytes.Buffer // the score lines
}

// score reads tracks and writes scores in the same order. Decoding and scoring run in parallel;
// counting runs in order, so that the same file always gives the same result and the same error.
func (run *scoreRun) score(ctx context.Context, r io.Reader, name string, w io.Writer) error {
	r, err := decompress(r, name)
	if err != nil {
		return err
	}
	emit := func(c *scoredChunk) error {
		for k := range c.samples {
			if err := run.count(&c.samples[k], c.numbers[k]); err != nil {
				return jsonl.At(name, c.numbers[k], err)
			}
		}
		_, err := w.Write(c.text.Bytes())
		return err
	}
	return jsonl.Parallel(ctx, r, name, runtime.GOMAXPROCS(0), func() func(jsonl.Chunk) (*scoredChunk, error) {
		return run.worker(name)
	}, emit)
}

// worker gives a goroutine its own decoder and scorer.
func (run *scoreRun) worker(name string) func(jsonl.Chunk) (*scoredChunk, error) {
	var decoder records.TrackDecoder
	var track contract.TrackLine
	scorer := scoring.NewScorer(dsr.MinUsableFrames)
	return func(chunk jsonl.Chunk) (*scoredChunk, error) {
		scored := &scoredChunk{}
		encoder := jsonl.NewEncoder[contract.ScoreLine](&scored.text)
		for number, text := range chunk.Lines() {
			if err := decoder.Decode(text, &track); err != nil {
				return nil, jsonl.At(name, number, err)
			}
			t, ok := run.types[track.PromptID]
			if !ok {
				return nil, jsonl.At(name, number, fmt.Errorf("sample %s is of prompt %s, which the prompt set lacks", track.SampleID, track.PromptID))
			}
			sample := scorer.Score(t, &track)
			if err := encoder.Write(&sample.Line); err != nil {
				return nil, jsonl.At(name, number, err)
			}
			scored.samples = append(scored.samples, sample)
			scored.numbers = append(scored.numbers, number)
		}
		return scored, nil
	}
}

// count adds a sample to the summary. It refuses a sample id that was there before, and more samples
// of a prompt than were asked for.
func (run *scoreRun) count(sample *scoring.Sample, number int) error {
	line := &sample.Line
	if first, ok := run.lines[line.SampleID]; ok {
		return fmt.Errorf("sample %s is already in line %d", line.SampleID, first)
	}
	run.lines[line.SampleID] = number
	run.found[line.PromptID]++
	if run.perPrompt > 0 && run.found[line.PromptID] > run.perPrompt {
		return fmt.Errorf("prompt %s has more than the %d samples asked for", line.PromptID, run.perPrompt)
	}
	run.summary.Add(sample)
	return nil
}

// finish counts the missing samples and sums up.
func (run *scoreRun) finish() scoreSummary {
	for _, p := range run.prompts {
		asked := max(run.perPrompt, 1)
		run.summary.AddMissing(max(0, asked-run.found[p.PromptID]))
	}
	summary := scoreSummary{
		Scored: run.summary.Scored, Invalid: run.summary.Invalid, Missing: run.summary.Missing,
		Accuracy: map[string]float64{},
	}
	if mean, ok := run.summary.Mean(); ok {
		summary.MeanScore = &mean
	}
	for k := range dsr.Thresholds {
		summary.Accuracy[dsr.Tenths(k).String()] = run.summary.Accuracy(k)
	}
	return summary
}
