// Package gitops shows objects, as the operator leaves them in every phase, to what GitOps tools judge their health with:
// kstatus, the Lua scripts for Argo CD, the expressions for Flux.
//
// internal/plan records the objects: go test ./internal/plan -run RecordedStatuses -update.
package gitops

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// verdicts are what the tools are to make of an object.
type verdicts struct {
	// kstatus, which Flux uses where nothing else is configured.
	kstatus status.Status
	// flux, with the expressions of docs/gitops.md.
	flux status.Status
	// accepted and complete, by the two scripts for Argo CD.
	accepted, complete string
}

var (
	waiting    = verdicts{status.InProgressStatus, status.InProgressStatus, "Progressing", "Progressing"}
	working    = verdicts{status.CurrentStatus, status.InProgressStatus, "Healthy", "Progressing"}
	held       = verdicts{status.CurrentStatus, status.InProgressStatus, "Healthy", "Suspended"}
	succeeded  = verdicts{status.CurrentStatus, status.CurrentStatus, "Healthy", "Healthy"}
	failed     = verdicts{status.FailedStatus, status.FailedStatus, "Degraded", "Degraded"}
	everyPhase = map[string]verdicts{
		"run-new":                      waiting,
		"run-pending-runtime":          waiting,
		"run-pending-namespace":        waiting,
		"run-running":                  working,
		"run-retrying":                 working,
		"run-queued":                   working,
		"run-awaiting-approval":        held,
		"run-suspended-by-spec":        held,
		"run-suspended-from-the-start": held,
		"run-suspended-by-budget":      held,
		"run-suspended-by-policy":      held,
		"run-succeeded":                succeeded,
		"run-failed":                   failed,
		"run-spec-is-newer":            waiting,
		"run-deleted":                  {status.TerminatingStatus, status.InProgressStatus, "Progressing", "Progressing"},
		"batch-pending-runtime":        waiting,
		"batch-running":                working,
		"batch-succeeded":              succeeded,
		"batch-failed":                 failed,
		"dataset-pending-source":       waiting,
		"dataset-running":              working,
		"dataset-succeeded":            succeeded,
		"dataset-failed":               failed,
	}
)

// TestEveryPhase holds every recorded object against what each tool is to make of it.
func TestEveryPhase(t *testing.T) {
	accepted, complete := scripts(t, "health-accepted.yaml"), scripts(t, "health-complete.yaml")
	flux := expressions(t)
	for _, name := range slices.Sorted(maps.Keys(everyPhase)) {
		t.Run(name, func(t *testing.T) {
			want, object := everyPhase[name], recorded(t, name)
			result, err := status.Compute(object)
			if err != nil {
				t.Fatal(err)
			}
			got := verdicts{
				kstatus:  result.Status,
				flux:     flux.status(t, object),
				accepted: accepted.health(t, object),
				complete: complete.health(t, object),
			}
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// TestEveryRecordIsJudged: no recorded object is left out.
func TestEveryRecordIsJudged(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".yaml"); everyPhase[name].kstatus == "" {
			t.Errorf("%s: nothing says what the tools are to make of it", file)
		}
	}
}

// recorded reads an object as the API server would serve it.
func recorded(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if data, err = yaml.YAMLToJSON(data); err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	return object
}
