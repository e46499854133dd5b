package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/dsr"
	"github.com/spatialalign/operator/internal/jsonl"
	"github.com/spatialalign/operator/internal/prompts"
	"github.com/spatialalign/operator/internal/records"
)

const (
	maxPrompts = 64 << 20
	// maxPoints of a training course: more cannot be told apart on a chart.
	maxPoints = 200
)

// Gather reads what a plan names. What is missing or damaged becomes a problem in the findings; a
// store that refuses is an error.
func Gather(ctx context.Context, store *artifact.Store, plan Plan) (*Bundle, error) {
	limit, err := dsr.ParseFraction(plan.Threshold)
	if err != nil {
		return nil, fmt.Errorf("threshold: %w", err)
	}
	g := gatherer{
		ctx: ctx, store: store, limit: limit,
		prompts: make(map[string]contract.PromptLine), evaluations: make(map[int32][]contract.ScoreLine),
		bundle: &Bundle{Videos: make(map[string][]byte)},
	}
	train, err := g.readPrompts("training prompts", plan.TrainPrompts)
	if err != nil {
		return nil, err
	}
	if _, err := g.readPrompts("evaluation prompts", plan.EvaluationPrompts); err != nil {
		return nil, err
	}
	g.classes(train)
	for _, it := range plan.Iterations {
		if err := g.iteration(it, it.Iteration == 0 || it.Iteration == plan.Best); err != nil {
			return nil, err
		}
	}
	if err := g.galleries(plan); err != nil {
		return nil, err
	}
	return g.bundle, nil
}

type gatherer struct {
	ctx     context.Context
	store   *artifact.Store
	limit   dsr.Fraction
	prompts map[string]contract.PromptLine
	// subjects and objects of the training prompts; nil when those are unknown.
	subjects, objects map[string]bool
	// evaluations keeps the scores of the iterations that are compared.
	evaluations map[int32][]contract.ScoreLine
	bundle      *Bundle
	videoBytes  int64
}

// tolerate notes an error that concerns one artifact, and passes on that the store refuses.
func (g *gatherer) tolerate(what string, err error) error {
	if err == nil {
		return nil
	}
	var e *artifact.Error
	if g.ctx.Err() != nil || errors.As(err, &e) && e.Kind == artifact.Storage {
		return fmt.Errorf("%s: %w", what, err)
	}
	g.bundle.Findings.Problems = append(g.bundle.Findings.Problems, fmt.Sprintf("%s: %v", what, err))
	return nil
}

func (g *gatherer) readPrompts(what string, a *contract.Artifact) ([]contract.PromptLine, error) {
	if a == nil {
		return nil, nil
	}
	var lines []contract.PromptLine
	data, err := g.store.ReadVerified(g.ctx, *a, maxPrompts)
	if err == nil {
		lines, err = prompts.Read(bytes.NewReader(data), a.Key)
	}
	for _, line := range lines {
		g.prompts[line.PromptID] = line
	}
	return lines, g.tolerate(what, err)
}

func (g *gatherer) classes(train []contract.PromptLine) {
	if len(train) == 0 {
		return
	}
	g.subjects, g.objects = make(map[string]bool), make(map[string]bool)
	for _, line := range train {
		g.subjects[strings.ToLower(line.Subject)] = true
		g.objects[strings.ToLower(line.Object)] = true
	}
}

func (g *gatherer) iteration(it PlanIteration, keep bool) error {
	found := IterationFindings{Iteration: it.Iteration}
	what := fmt.Sprintf("iteration %d, ", it.Iteration)
	samples, _, err := g.scores(it.Samples, false)
	if err := g.tolerate(what+"training scores", err); err != nil {
		return err
	}
	evaluation, lines, err := g.scores(it.Evaluation, true)
	if err := g.tolerate(what+"evaluation scores", err); err != nil {
		return err
	}
	if keep {
		g.evaluations[it.Iteration] = lines
	}
	training, err := g.training(it.Adapter)
	if err := g.tolerate(what+"training metrics", err); err != nil {
		return err
	}
	found.Samples, found.Evaluation, found.Training = samples, evaluation, training
	g.bundle.Findings.Iterations = append(g.bundle.Findings.Iterations, found)
	return nil
}

// scores reads a scores.jsonl; the lines are kept for evaluation sets, which are small.
func (g *gatherer) scores(a *contract.Artifact, evaluation bool) (*Scores, []contract.ScoreLine, error) {
	if a == nil {
		return nil, nil, nil
	}
	sums := Scores{}
	groups := make(map[string]*Group)
	var lines []contract.ScoreLine
	err := g.stream(*a, func(r io.Reader) error {
		return records.ReadScores(r, a.Key, func(line contract.ScoreLine) error {
			switch {
			case line.Score != nil:
				sums.Bins[min(max(int(*line.Score*Bins), 0), Bins-1)]++
			case line.Status == contract.StatusMissing:
				sums.Missing++
			default:
				sums.Invalid++
			}
			if evaluation {
				lines = append(lines, line)
				g.group(groups, line)
			}
			return nil
		})
	})
	if err != nil {
		return nil, nil, err
	}
	for _, group := range groups {
		sums.Groups = append(sums.Groups, *group)
	}
	slices.SortFunc(sums.Groups, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
	return &sums, lines, nil
}

// stream reads a verified file; nothing that fn took from it counts when this is an error.
func (g *gatherer) stream(a contract.Artifact, fn func(io.Reader) error) error {
	r, err := g.store.OpenVerified(g.ctx, a)
	if err != nil {
		return err
	}
	defer r.Close()
	err = fn(r)
	// A damaged file rarely parses: say that it is damaged rather than how.
	if damage := r.Finish(); damage != nil {
		return damage
	}
	return err
}

func (g *gatherer) group(groups map[string]*Group, line contract.ScoreLine) {
	prompt, known := g.prompts[line.PromptID]
	if !known {
		return
	}
	names := []string{prompt.Type}
	if g.subjects != nil {
		if g.subjects[strings.ToLower(prompt.Subject)] && g.objects[strings.ToLower(prompt.Object)] {
			names = append(names, GroupSeen)
		} else {
			names = append(names, GroupUnseen)
		}
	}
	for _, name := range names {
		group := groups[name]
		if group == nil {
			group = &Group{Name: name}
			groups[name] = group
		}
		group.Total++
		if line.Score != nil && *line.Score >= g.limit.Float64() {
			group.Reached++
		}
	}
}

// training reads the metrics that the training wrote beside its adapter. The adapter's digest is
// pinned by the run's status; a manifest that names it vouches for the metrics.
func (g *gatherer) training(adapter *contract.Artifact) ([]Point, error) {
	if adapter == nil {
		return nil, nil
	}
	key := path.Join(path.Dir(adapter.Key), "manifest.json")
	data, err := g.store.ReadVerified(g.ctx, contract.Artifact{Key: key}, artifact.MaxManifest)
	if err != nil {
		return nil, err
	}
	var manifest contract.Manifest
	if err := artifact.DecodeStrict(data, &manifest); err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if manifest.Outputs["adapter"] != *adapter {
		return nil, fmt.Errorf("%s: it is not the manifest of the adapter with digest %s", key, adapter.Digest)
	}
	metrics, named := manifest.Outputs["metrics"]
	if !named {
		return nil, nil
	}
	var points []Point
	err = g.stream(metrics, func(r io.Reader) error {
		return jsonl.Lines(r, metrics.Key, func(_ int, text []byte) error {
			point, err := parsePoint(text)
			points = append(points, point)
			return err
		})
	})
	return thin(points), err
}

// parsePoint takes the numbers of a line of metrics.jsonl, whatever a runtime calls them. Decimals
// may be strings, as everywhere in the contract.
func parsePoint(text []byte) (Point, error) {
	var line map[string]any
	if err := json.Unmarshal(text, &line); err != nil {
		return Point{}, err
	}
	point := Point{Values: make(map[string]float64)}
	for name, value := range line {
		switch v := value.(type) {
		case float64:
			point.Values[name] = v
		case string:
			if x, err := strconv.ParseFloat(v, 64); err == nil && x-x == 0 { // neither infinite nor NaN
				point.Values[name] = x
			}
		}
	}
	step, ok := point.Values["step"]
	if !ok || step < 0 || step > 1e12 {
		return Point{}, errors.New("a line of training metrics needs a step")
	}
	delete(point.Values, "step")
	point.Step = int64(step)
	return point, nil
}

// thin keeps the last of each run of neighbours, so that at most maxPoints remain.
func thin(points []Point) []Point {
	every := (len(points) + maxPoints - 1) / maxPoints
	if every <= 1 {
		return points
	}
	var kept []Point
	for i := len(points) - 1; i >= 0; i -= every {
		kept = append(kept, points[i])
	}
	slices.Reverse(kept)
	return kept
}
