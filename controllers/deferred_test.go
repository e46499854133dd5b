package controllers

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// TestRecall: what the operator has written or planned goes before what the cache shows, until the cache, or somebody else, is
// further.
func TestRecall(t *testing.T) {
	status := func(phase v1alpha1.RunPhase) v1alpha1.AlignmentRunStatus {
		return v1alpha1.AlignmentRunStatus{Phase: phase}
	}
	shown := func(version string, phase v1alpha1.RunPhase) *v1alpha1.AlignmentRun {
		return &v1alpha1.AlignmentRun{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "r1", UID: "u1", ResourceVersion: version}, Status: status(phase)}
	}
	pending, running, suspended := v1alpha1.PhasePending, v1alpha1.PhaseRunning, v1alpha1.PhaseSuspended
	write := func(e *Engine, over, version string, phase v1alpha1.RunPhase) {
		written(e, client.Object(shown(version, phase)), over, new(status(phase)))
	}
	for name, c := range map[string]struct {
		before func(*Engine)
		shown  *v1alpha1.AlignmentRun
		// version and statuses that the next plan goes by.
		version           string
		recorded, planned v1alpha1.RunPhase
		// kept says that something is still remembered.
		kept bool
	}{
		"nothing is remembered": {func(*Engine) {}, shown("1", pending), "1", pending, pending, false},
		"the cache is behind a write": {
			func(e *Engine) { write(e, "1", "2", running) }, shown("1", pending), "2", running, running, true,
		},
		"the cache is behind two writes": {
			func(e *Engine) { write(e, "1", "2", running); write(e, "2", "3", suspended) }, shown("1", pending), "3", suspended, suspended, true,
		},
		"the cache shows the first of two writes": {
			func(e *Engine) { write(e, "1", "2", running); write(e, "2", "3", suspended) }, shown("2", running), "3", suspended, suspended, true,
		},
		"the cache has caught up": {
			func(e *Engine) { write(e, "1", "2", running) }, shown("2", running), "2", running, running, false,
		},
		"somebody else has written": {
			func(e *Engine) { write(e, "1", "2", running) }, shown("9", suspended), "9", suspended, suspended, false,
		},
		"a status is deferred": {
			func(e *Engine) { remember(e, shown("1", pending), new(status(pending)), new(status(running)), false) }, shown("1", pending), "1", pending, running, true,
		},
		"a status is deferred beside a write that the cache does not show": {
			func(e *Engine) {
				write(e, "1", "2", running)
				remember(e, shown("2", running), new(status(running)), new(status(suspended)), false)
			}, shown("1", pending), "2", running, suspended, true,
		},
		"the cache has caught up with the write, and a status is deferred": {
			func(e *Engine) {
				write(e, "1", "2", running)
				remember(e, shown("2", running), new(status(running)), new(status(suspended)), false)
			}, shown("2", running), "2", running, suspended, true,
		},
		"the answer to a write was lost, and the cache shows what was written: it is still to be told": {
			func(e *Engine) {
				remember(e, shown("1", pending), new(status(pending)), new(status(running)), true)
			}, shown("2", running), "2", pending, running, true,
		},
		"a write came to nothing, and somebody else has written": {
			func(e *Engine) {
				remember(e, shown("1", pending), new(status(pending)), new(status(running)), true)
			}, shown("2", suspended), "2", suspended, suspended, false,
		},
		"it is another object of the name": {
			func(e *Engine) {
				other := shown("2", running)
				other.UID = "another"
				written(e, other, "1", &other.Status)
			}, shown("1", pending), "1", pending, pending, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := &Engine{}
			c.before(e)
			recorded, _ := recall(e, c.shown, &c.shown.Status)
			if c.shown.ResourceVersion != c.version || recorded.Phase != c.recorded || c.shown.Status.Phase != c.planned {
				t.Errorf("version %s, recorded %s, planned %s", c.shown.ResourceVersion, recorded.Phase, c.shown.Status.Phase)
			}
			if _, kept := e.deferred.Load(deferralKey(c.shown)); kept != c.kept {
				t.Errorf("kept: %v", kept)
			}
		})
	}
}
