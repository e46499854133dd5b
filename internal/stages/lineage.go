package stages

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/lineage"
	"github.com/spatialalign/operator/internal/stage"
)

// maxVerdict bounds a verdict, in bytes.
const maxVerdict = 64 << 10

// Lineage writes what an iteration was made of, and a model card, once every artifact that the record
// names has turned out to be there with its digest: a lineage never promises what is gone.
func Lineage(ctx context.Context, t *stage.Task) error {
	record := &t.Spec.Lineage.Record
	named := slices.Sorted(maps.Keys(record.Artifacts))
	t.Progress.Total(int64(len(named)), "artifacts")
	for _, role := range named {
		if err := verify(ctx, t, record.Artifacts[role]); err != nil {
			return fmt.Errorf("lineage.record.artifacts[%s]: %w", role, err)
		}
		t.Progress.Add(1)
	}
	if record.Previous != nil {
		if _, err := lineage.Read(ctx, t.Store, *record.Previous); err != nil {
			return fmt.Errorf("lineage.record.previous: %w", err)
		}
		t.Input(*record.Previous)
	}
	facts, err := lineageFacts(ctx, t, record)
	if err != nil {
		return err
	}
	card, err := lineage.Card(record, facts)
	if err != nil {
		return err
	}
	data, err := lineage.Encode(record)
	if err != nil {
		return err
	}
	for _, file := range []struct {
		output, name string
		data         []byte
	}{{"lineage", "lineage.json", data}, {"modelCard", "model-card.md", card}} {
		a, err := t.Write(ctx, file.name, file.data)
		if err != nil {
			return err
		}
		t.Output(file.output, a)
	}
	t.Count("artifacts", int64(len(named)))
	return nil
}

// verify reads an artifact to its end.
func verify(ctx context.Context, t *stage.Task, a contract.Artifact) error {
	r, err := t.Store.OpenVerified(ctx, a)
	if err != nil {
		return err
	}
	defer r.Close()
	t.Input(a)
	return r.Finish()
}

// lineageFacts reads what the model card tells of the artifacts.
func lineageFacts(ctx context.Context, t *stage.Task, record *contract.LineageRecord) (lineage.Facts, error) {
	facts := lineage.Facts{Prompts: map[string]int{}}
	for role, a := range record.Artifacts {
		set, ok := strings.CutPrefix(role, "prompts/")
		if !ok {
			continue
		}
		lines, err := readPrompts(ctx, t, a)
		if err != nil {
			return facts, err
		}
		facts.Prompts[set] = len(lines)
	}
	a, ok := record.Artifacts["verdict"]
	if !ok {
		return facts, nil
	}
	data, err := t.Read(ctx, a, maxVerdict)
	if err != nil {
		return facts, err
	}
	facts.Verdict = &contract.Verdict{}
	if err := artifact.DecodeStrict(data, facts.Verdict); err != nil {
		return facts, stage.Errorf(contract.ExitBadInput, "verdict %s: %w", a.Key, err)
	}
	return facts, nil
}
