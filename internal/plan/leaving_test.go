package plan

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// While the namespace is being deleted, active Jobs go, finished ones stay, and nothing is created.
func TestLeaving(t *testing.T) {
	job := func(name string, stage v1alpha1.StageName, state jobs.State) Child {
		return Child{
			Object: &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name}}, Place: jobs.Place{Stage: stage}, Outcome: jobs.Outcome{State: state},
		}
	}
	children := func(active, done v1alpha1.StageName) []Child {
		return []Child{job("active", active, jobs.Active), job("done", done, jobs.Succeeded)}
	}
	b := Base{Leaving: true, Runtime: newWorld(t, script{}).runtime}
	for name, plan := range map[string]func() ([]Object, []Object){
		"AlignmentRun": func() ([]Object, []Object) {
			b.Children = children(v1alpha1.StageSample, v1alpha1.StagePrepare)
			next := Run(b, &v1alpha1.AlignmentRun{}, Related{})
			return next.Create, next.Delete
		},
		"ScoringBatch": func() ([]Object, []Object) {
			b.Children = children(v1alpha1.StageScore, v1alpha1.StageTrack)
			next := ScoringBatch(b, &v1alpha1.ScoringBatch{}, nil)
			return next.Create, next.Delete
		},
		"PreferenceDataset": func() ([]Object, []Object) {
			b.Children = children(v1alpha1.StagePair, "")
			next := PreferenceDataset(b, &v1alpha1.PreferenceDataset{}, nil, nil)
			return next.Create, next.Delete
		},
	} {
		t.Run(name, func(t *testing.T) {
			create, remove := plan()
			if len(create) != 0 || len(remove) != 1 || remove[0].GetName() != "active" {
				t.Errorf("creates %v and deletes %v, want nothing and the active Job", create, remove)
			}
		})
	}
}
