package verify

import (
	"errors"
	"fmt"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/references"
)

// ErrNotAccepted says that there is nothing to read of a run yet, and no store to read it from.
var ErrNotAccepted = errors.New("the run was not accepted yet: its status names no store")

// QuestionOf an accepted run: what its status pins by digest, and its lineage.
func QuestionOf(run *v1alpha1.AlignmentRun) (Question, error) {
	if run.Status.Runtime == nil {
		return Question{}, ErrNotAccepted
	}
	q := Question{Artifacts: []Artifact{}, Lineage: NewestLineage(run)}
	found, err := references.Of(run.Status)
	if err != nil {
		return q, fmt.Errorf("run %s: %w", run.Name, err)
	}
	for _, r := range found {
		if r.Digest != "" {
			q.Artifacts = append(q.Artifacts, Artifact{r.Kind(), r.Artifact})
		}
	}
	return q, nil
}

// NewestLineage of a run, from which its chain leads to all before it; nil when there is none yet.
func NewestLineage(run *v1alpha1.AlignmentRun) *contract.Artifact {
	for i := len(run.Status.Iterations) - 1; i >= 0; i-- {
		if l := run.Status.Iterations[i].Lineage; l != nil {
			return &contract.Artifact{Key: string(l.Key), Digest: string(l.Digest)}
		}
	}
	return nil
}
