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
	v1alpha1.StageReevaluationPrepare, v1alpha1.StageReevaluationSample, v1alpha1.StageReevaluationScore, v1alpha1.StageReevaluationCompare,
	v1alpha1.StageCompare, v1alpha1.StageLineage, v1alpha1.StageTestPrepare, v1alpha1.StageTestSample, v1alpha1.StageTestScore,
}

func TestChildName(t *testing.T) {
	tests := []struct {
		owner string
		place jobs.Place
		want  string
	}{
		{"first-run", jobs.Place{Stage: v1alpha1.StagePrepare}, "first-run-9ccfb80e-0-prepare-0"},
		{"first-run", jobs.Place{Iteration: 3, Stage: v1alpha1.StageEvaluationSample, Attempt: 12}, "first-run-9ccfb80e-3-eval-sample-12"},
		{"first-run", jobs.Place{Iteration: 1, Round: 2, Stage: v1alpha1.StageSample}, "first-run-9ccfb80e-1r2-sample-0"},
		{"first-run", jobs.Place{Iteration: 3, Stage: v1alpha1.StageTestPrepare}, "first-run-9ccfb80e-3-test-prepare-0"},
		{"7b", jobs.Place{Iteration: 1, Stage: v1alpha1.StageTrain}, "r7b-9ccfb80e-1-train-0"},
		{"wan2.1-run", jobs.Place{Iteration: 1, Stage: v1alpha1.StageTrain}, "wan2-1-run-9ccfb80e-1-train-0"},
		{strings.Repeat("long-", 12) + "er", jobs.Place{Iteration: 1, Stage: v1alpha1.StageTrain}, "long-long-long-long-long-long-long-long-9ccfb80e-1-train-0"},
		{"first-run-9ccfb80e-0-eval-score-0", jobs.Place{Stage: v1alpha1.StageTrack}, "first-run-9ccfb80e-0-eval-score-0-9ccfb80e-0-track-0"},
	}
	for _, tt := range tests {
		if got := jobs.ChildName(tt.owner, "5f9a-run", tt.place); got != tt.want {
			t.Errorf("%+v of %s is called %s, want %s", tt.place, tt.owner, got, tt.want)
		}
	}
}

// ownerName draws what Kubernetes may call an object: a DNS subdomain of 1 to 253 characters.
func ownerName(t *rapid.T) string {
	return rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?){0,4}`).Filter(func(s string) bool {
		return len(validation.IsDNS1123Subdomain(s)) == 0
	}).Draw(t, "owner")
}

// anyPlace draws a place within what the API allows, attempts aside.
var anyPlace = rapid.Custom(func(t *rapid.T) jobs.Place {
	return jobs.Place{
		Iteration: rapid.Int32Range(0, 100).Draw(t, "iteration"), Round: rapid.Int32Range(0, 5).Draw(t, "round"),
		Stage: rapid.SampledFrom(stages).Draw(t, "stage"), Attempt: rapid.Int32Range(0, 1<<31-1).Draw(t, "attempt"),
	}
})

// With "-<index>" behind it, every name is a DNS label that starts with a letter: it becomes a pod's host name.
func TestChildNameIsALabelForEveryOwner(t *testing.T) {
	check := func(t interface{ Fatalf(string, ...any) }, owner string, p jobs.Place) {
		name := jobs.ChildName(owner, "1b4e28ba-2fa1-11d2-883f-0016d3cca427", p)
		if len(name) > 58 || name[0] < 'a' || name[0] > 'z' || len(validation.IsDNS1123Label(name)) > 0 {
			t.Fatalf("%q (%d characters) for owner %q: %v", name, len(name), owner, validation.IsDNS1123Label(name))
		}
	}
	rapid.Check(t, func(t *rapid.T) { check(t, ownerName(t), anyPlace.Draw(t, "place")) })
	for length := 1; length <= 253; length++ {
		for _, pattern := range []string{"a", "9", "a-9.", "x.-"} {
			owner := strings.Trim(strings.Repeat(pattern, length)[:length], ".-")
			if owner == "" {
				owner = "0"
			}
			check(t, owner, jobs.Place{Iteration: 100, Round: 5, Stage: v1alpha1.StageEvaluationPrepare, Attempt: 99})
		}
	}
}

// The same (uid, place) always has the same name, any other has another.
func TestChildNameIsUnique(t *testing.T) {
	type child struct {
		uid   types.UID
		place jobs.Place
	}
	draw := rapid.Custom(func(t *rapid.T) child {
		return child{uid: types.UID(rapid.SampledFrom([]string{"uid-1", "uid-2", "uid-11"}).Draw(t, "uid")), place: anyPlace.Draw(t, "place")}
	})
	rapid.Check(t, func(t *rapid.T) {
		owner, a, b := ownerName(t), draw.Draw(t, "a"), draw.Draw(t, "b")
		first, second := jobs.ChildName(owner, a.uid, a.place), jobs.ChildName(owner, b.uid, b.place)
		if (first == second) != (a == b) {
			t.Fatalf("%v is %s, %v is %s", a, first, b, second)
		}
	})
}

// Owners of one name, one after the other, never share a child's name: nothing of the old one is adopted.
func TestChildNameOfARecreatedOwner(t *testing.T) {
	seen := map[string]bool{}
	for i := range 200 {
		name := jobs.ChildName("first-run", types.UID(fmt.Sprintf("uid-%d", i)), jobs.Place{Stage: v1alpha1.StagePrepare})
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
