package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/records"
)

const (
	rows          = 6
	maxSidecar    = 64 << 10
	maxVideo      = 16 << 20
	maxAllVideos  = 96 << 20
	sniffedPrefix = 512
)

// galleries adds the comparison of the held-out prompts, then winners and losers of the first and of
// the last iteration that has pairs.
func (g *gatherer) galleries(plan Plan) error {
	if err := g.beforeAfter(plan.Best); err != nil {
		return err
	}
	var paired []PlanIteration
	for _, it := range plan.Iterations {
		if it.Pairs != nil {
			paired = append(paired, it)
		}
	}
	if len(paired) == 0 {
		return nil
	}
	shown := paired[:1]
	if len(paired) > 1 {
		shown = append(shown, paired[len(paired)-1])
	}
	for _, it := range shown {
		if err := g.winnersLosers(it); err != nil {
			return err
		}
	}
	return nil
}

// beforeAfter takes the first prompts by relation and id, and of each the first seed: nothing is
// picked by its score.
func (g *gatherer) beforeAfter(best int32) error {
	type place struct {
		promptID string
		seed     uint64
	}
	if best == 0 {
		return nil
	}
	after := make(map[place]contract.ScoreLine)
	for _, line := range g.evaluations[best] {
		after[place{line.PromptID, line.Seed}] = line
	}
	first := make(map[string]contract.ScoreLine) // by prompt
	for _, line := range g.evaluations[0] {
		_, both := after[place{line.PromptID, line.Seed}]
		if old, seen := first[line.PromptID]; both && (!seen || line.Seed < old.Seed) {
			first[line.PromptID] = line
		}
	}
	gallery := Gallery{Kind: BeforeAfter, Iteration: best}
	for _, promptID := range g.spread(slices.Sorted(maps.Keys(first))) {
		left := first[promptID]
		row := g.row(promptID)
		var err error
		if row.Left, err = g.clip(left); err != nil {
			return err
		}
		if row.Right, err = g.clip(after[place{promptID, left.Seed}]); err != nil {
			return err
		}
		gallery.Rows = append(gallery.Rows, row)
	}
	g.add(gallery)
	return nil
}

// winnersLosers shows, of each prompt, the extremes of the pairs that an iteration added.
func (g *gatherer) winnersLosers(it PlanIteration) error {
	extremes := make(map[string]contract.PairLine) // by prompt
	err := g.stream(*it.Pairs, func(r io.Reader) error {
		return records.ReadPairs(r, it.Pairs.Key, func(pair contract.PairLine) error {
			if pair.Iteration != int(it.Iteration) {
				return nil
			}
			best, seen := extremes[pair.PromptID]
			if !seen || pair.WinnerScore > best.WinnerScore {
				best.Winner, best.WinnerScore = pair.Winner, pair.WinnerScore
			}
			if !seen || pair.LoserScore < best.LoserScore {
				best.Loser, best.LoserScore = pair.Loser, pair.LoserScore
			}
			extremes[pair.PromptID] = best
			return nil
		})
	})
	if err != nil {
		return g.tolerate(fmt.Sprintf("iteration %d, pairs", it.Iteration), err)
	}
	gallery := Gallery{Kind: WinnersLosers, Iteration: it.Iteration}
	for _, promptID := range g.spread(slices.Sorted(maps.Keys(extremes))) {
		pair, row := extremes[promptID], g.row(promptID)
		if row.Left, err = g.clip(scored(pair.Winner, pair.WinnerScore)); err != nil {
			return err
		}
		if row.Right, err = g.clip(scored(pair.Loser, pair.LoserScore)); err != nil {
			return err
		}
		gallery.Rows = append(gallery.Rows, row)
	}
	g.add(gallery)
	return nil
}

func scored(sampleID string, score float64) contract.ScoreLine {
	return contract.ScoreLine{SampleID: sampleID, Score: &score, Status: contract.StatusScored}
}

func (g *gatherer) add(gallery Gallery) {
	if len(gallery.Rows) > 0 {
		g.bundle.Findings.Galleries = append(g.bundle.Findings.Galleries, gallery)
	}
}

func (g *gatherer) row(promptID string) Row {
	prompt := g.prompts[promptID]
	return Row{PromptID: promptID, Type: prompt.Type, Prompt: prompt.Prompt}
}

// spread takes up to six prompts, as many relations among them as there are. ids are sorted.
func (g *gatherer) spread(ids []string) []string {
	round := make(map[string]int) // how many of a relation come before, by relation
	rank := make(map[string]int, len(ids))
	for _, id := range ids {
		relation := g.prompts[id].Type
		rank[id] = round[relation]
		round[relation]++
	}
	slices.SortStableFunc(ids, func(a, b string) int {
		return cmp.Or(cmp.Compare(rank[a], rank[b]), strings.Compare(g.prompts[a].Type, g.prompts[b].Type))
	})
	return ids[:min(len(ids), rows)]
}

// clip fetches the video of a sample.
func (g *gatherer) clip(line contract.ScoreLine) (Clip, error) {
	clip := Clip{SampleID: line.SampleID, Seed: line.Seed, Score: line.Score, Status: line.Status, Reason: line.Reason}
	sidecar, data, err := g.video(line.SampleID)
	if err != nil {
		return clip, g.tolerate("video of sample "+line.SampleID, err)
	}
	clip.Seed = sidecar.Seed
	clip.Video = &Video{Digest: sidecar.Video.Digest, MediaType: mediaType(data), Width: sidecar.Width, Height: sidecar.Height}
	g.bundle.Videos[sidecar.Video.Digest] = data
	return clip, nil
}

func (g *gatherer) video(sampleID string) (*contract.Sidecar, []byte, error) {
	key := contract.SidecarKey(sampleID)
	data, err := g.store.ReadVerified(g.ctx, contract.Artifact{Key: key}, maxSidecar)
	if err != nil {
		return nil, nil, err
	}
	sidecar := &contract.Sidecar{}
	if err := artifact.DecodeStrict(data, sidecar); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", key, err)
	}
	digest := sidecar.Video.Digest
	if sidecar.SampleID != sampleID || !artifact.ValidDigest(digest) {
		return nil, nil, fmt.Errorf("%s: it is of sample %q and names its video with digest %q", key, sidecar.SampleID, digest)
	}
	if known, have := g.bundle.Videos[digest]; have {
		return sidecar, known, nil
	}
	video, err := g.store.ReadVerified(g.ctx, contract.Artifact{Key: sidecar.Video.Key, Digest: digest}, maxVideo)
	if err != nil {
		return nil, nil, err
	}
	if g.videoBytes += int64(len(video)); g.videoBytes > maxAllVideos {
		return nil, nil, fmt.Errorf("left out: the report holds at most %d MiB of videos", maxAllVideos>>20)
	}
	if mediaType(video) == "" {
		return nil, nil, fmt.Errorf("%s: left out: it is %s; browsers play GIF, MP4 and WebM", sidecar.Video.Key, http.DetectContentType(video))
	}
	return sidecar, video, nil
}

// mediaType of a video that a browser may be given; empty for anything else. The content decides: a
// name could make a browser run what it should only show.
func mediaType(data []byte) string {
	switch kind := http.DetectContentType(data[:min(len(data), sniffedPrefix)]); kind {
	case "image/gif", "video/mp4", "video/webm":
		return kind
	default:
		return ""
	}
}
