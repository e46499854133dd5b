package jobs_test

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

var stages = []v1alpha1.StageName{
	v1alpha1.StagePrepare, v1alpha1.StageSample, v1alpha1.StageScore, v1alpha1.StagePair, v1alpha1.StageTrain,
	v1alpha1.StageEvaluationPrepare, v1alpha1.StageEvaluationSample, v1alpha1.StageEvaluationScore, v1alpha1.StageTrack,
}

func TestChildName(t *testing.T) {
	tests := []struct {
		owner     string
		iteration int32
		stage     v1alpha1.StageName
		attempt   int32
		want      string
	}{
		{"first-run", 0, v1alpha1.StagePrepare, 0, "first-run-9ccfb80e-0-prepare-0"},
		{"first-run", 3, v1alpha1.StageEvaluationSample, 12, "first-run-9ccfb80e-3-eval-sample-12"},
		{"7b", 1, v1alpha1.StageTrain, 0, "r7b-9ccfb80e-1-train-0"},
		{"wan2.1-run", 1, v1alpha1.StageTrain, 0, "wan2-1-run-9ccfb80e-1-train-0"},
		{strings.Repeat("long-", 12) + "er", 1, v1alpha1.StageTrain, 0, "long-long-long-long-long-long-long-long-9ccfb80e-1-train-0"},
		{"first-run-9ccfb80e-0-eval-score-0", 0, v1alpha1.StageTrack, 0, "first-run-9ccfb80e-0-eval-score-0-9ccfb80e-0-track-0"},
	}
	for _, tt := range tests {
		if got := jobs.ChildName(tt.owner, "5f9a-run", tt.iteration, tt.stage, tt.attempt); got != tt.want {
			t.Errorf("attempt %d of %d %s of %s is called %s, want %s", tt.attempt, tt.iteration, tt.stage, tt.owner, got, tt.want)
		}
	}
}

// ownerName draws what Kubernetes may call an object: a DNS subdomain of 1 to 253 characters.
func ownerName(t *rapid.T) string {
	return rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?){0,4}`).Filter(func(s string) bool {
		return len(validation.IsDNS1123Subdomain(s)) == 0
	}).Draw(t, "owner")
}

// With "-<index>" behind it, every name is a DNS label that starts with a letter: it becomes a pod's host name.
func TestChildNameIsALabelForEveryOwner(t *testing.T) {
	check := func(t interface{ Fatalf(string, ...any) }, owner string, iteration int32, stage v1alpha1.StageName, attempt int32) {
		name := jobs.ChildName(owner, "1b4e28ba-2fa1-11d2-883f-0016d3cca427", iteration, stage, attempt)
		if len(name) > 58 || name[0] < 'a' || name[0] > 'z' || len(validation.IsDNS1123Label(name)) > 0 {
			t.Fatalf("%q (%d characters) for owner %q: %v", name, len(name), owner, validation.IsDNS1123Label(name))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		check(t, ownerName(t), rapid.Int32Range(0, 100).Draw(t, "iteration"), rapid.SampledFrom(stages).Draw(t, "stage"), rapid.Int32Range(0, 1<<31-1).Draw(t, "attempt"))
	})
	for length := 1; length <= 253; length++ {
		for _, pattern := range []string{"a", "9", "a-9.", "x.-"} {
			owner := strings.Trim(strings.Repeat(pattern, length)[:length], ".-")
			if owner == "" {
				owner = "0"
			}
			check(t, owner, 100, v1alpha1.StageEvaluationPrepare, 99)
		}
	}
}

// The same (uid, iteration, stage, attempt) always has the same name, any other has another.
func TestChildNameIsUnique(t *testing.T) {
	type place struct {
		uid                types.UID
		iteration, attempt int32
		stage              v1alpha1.StageName
	}
	draw := rapid.Custom(func(t *rapid.T) place {
		return place{
			uid:       types.UID(rapid.SampledFrom([]string{"uid-1", "uid-2", "uid-11"}).Draw(t, "uid")),
			iteration: rapid.Int32Range(0, 100).Draw(t, "iteration"), attempt: rapid.Int32Range(0, 1000).Draw(t, "attempt"),
			stage: rapid.SampledFrom(stages).Draw(t, "stage"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		owner, a, b := ownerName(t), draw.Draw(t, "a"), draw.Draw(t, "b")
		first := jobs.ChildName(owner, a.uid, a.iteration, a.stage, a.attempt)
		second := jobs.ChildName(owner, b.uid, b.iteration, b.stage, b.attempt)
		if (first == second) != (a == b) {
			t.Fatalf("%v is %s, %v is %s", a, first, b, second)
		}
	})
}

// Owners of one name, one after the other, never share a child's name: nothing of the old one is adopted.
func TestChildNameOfARecreatedOwner(t *testing.T) {
	seen := map[string]bool{}
	for i := range 200 {
		name := jobs.ChildName("first-run", types.UID(fmt.Sprintf("uid-%d", i)), 0, v1alpha1.StagePrepare, 0)
		if seen[name] {
			t.Fatalf("%s is given twice", name)
		}
		seen[name] = true
	}
}

func TestEveryStageHasASlug(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range stages {
		slug := jobs.Slug(s)
		if slug == "" || seen[slug] {
			t.Errorf("stage %s has the slug %q", s, slug)
		}
		seen[slug] = true
	}
}
