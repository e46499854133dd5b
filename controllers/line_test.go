package controllers

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/plan"
)

// TestLine: stages that wait for room keep their places, whatever is planned in between.
func TestLine(t *testing.T) {
	run := func(namespace, name string) *v1alpha1.AlignmentRun {
		return &v1alpha1.AlignmentRun{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	}
	first, second := run("team-a", "first"), run("team-a", "second")
	stage := func(name v1alpha1.StageName, attempt int32) plan.Waiter {
		return plan.Waiter{Own: true, Place: jobs.Place{Iteration: 1, Stage: name, Attempt: attempt}}
	}
	train, sample := stage(v1alpha1.StageTrain, 0), stage(v1alpha1.StageSample, 0)
	var r rooms
	now := time.Unix(1_800_000_000, 0)
	stands := func(o *v1alpha1.AlignmentRun, list ...plan.Waiter) { r.want(o, len(list) > 0, list, now) }
	is := func(what string, want ...string) {
		t.Helper()
		var got []string
		for _, w := range r.inLine(second, now) {
			who := "first"
			if w.Own {
				who = "second"
			}
			got = append(got, who+" "+string(w.Place.Stage))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}

	stands(first, train)
	stands(second, sample)
	stands(run("team-b", "first"), train)
	is("those who come later stand behind, in each namespace for themselves", "first Train", "second Sample")

	now = now.Add(20 * time.Second)
	stands(first, sample, stage(v1alpha1.StageTrain, 1))
	is("a place is kept over attempts; another stage gets the last one", "first Train", "second Sample", "first Sample")

	now = now.Add(20 * time.Second)
	is("nothing is kept for an object that is planned no more", "first Train", "first Sample")

	stands(second, sample)
	is("it has its place again when it is", "first Train", "second Sample", "first Sample")

	served := train
	served.Served = true
	stands(first, sample, served)
	is("who is served in vain keeps the place that it has", "first Train", "second Sample", "first Sample")
	again := train
	again.Place.Attempt = 1
	stands(first, served, again)
	stands(first, again)
	is("of two attempts of a stage, as a status that somebody spoilt may tell, one stands when one waits", "first Train", "second Sample")

	stands(first)
	stands(first, served)
	is("and is the first one to be served again", "first Train", "second Sample")

	stands(first)
	is("who begins, or waits no more, leaves", "second Sample")
}
