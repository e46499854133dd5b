//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/spatialalign/operator/api/v1alpha1"
)

const overlapping = `
apiVersion: v1
kind: ConfigMap
metadata: {name: prompts}
data:
  prompts.csv: |
    type,prompt_id,animal,object,scene,initial_SR,final_SR,prompt
    LR,a,cat,bench,"In a park,",on the left of,to the right of,"In a park, a cat is on the left of a bench, then the cat walks to the right of the bench."
---
apiVersion: alignment.spatialalign.dev/v1alpha1
kind: AlignmentRun
metadata: {name: overlapping}
spec:
  runtimeRef: {name: synthetic}
  prompts:
    train:      {configMapRef: {name: prompts, key: prompts.csv}}
    evaluation: {configMapRef: {name: prompts, key: prompts.csv}}
  iterations: 1
---
apiVersion: alignment.spatialalign.dev/v1alpha1
kind: AlignmentRun
metadata: {name: no-runtime}
spec:
  runtimeRef: {name: not-there}
  prompts:
    train:      {generate: {count: 6, seed: 1}}
    evaluation: {generate: {count: 6, seed: 2}}
  iterations: 1
---
apiVersion: alignment.spatialalign.dev/v1alpha1
kind: AlignmentRun
metadata: {name: no-configmap}
spec:
  runtimeRef: {name: synthetic}
  prompts:
    train:      {configMapRef: {name: not-there, key: prompts.csv}}
    evaluation: {generate: {count: 6, seed: 2}}
  iterations: 1
`

// badInput gets a clear message at the earliest point, in status.
func badInput(t *testing.T) {
	c := connect(t)
	ns := c.namespace("e2e-bad-input")
	c.apply(overlapping, ns)

	t.Run("overlapping prompts fail before a GPU is used", func(t *testing.T) {
		run := connect(t).ended(ns, "overlapping", 2*time.Minute)
		got := condition(run, v1alpha1.ConditionFailed)
		if got.Reason != v1alpha1.ReasonInvalidSpec || !strings.Contains(got.Message, "cat") || !strings.Contains(got.Message, "evaluation") {
			t.Errorf("condition Failed = %s: %s", got.Reason, got.Message)
		}
	})
	t.Run("a runtime that does not exist is waited for", func(t *testing.T) {
		c := connect(t)
		c.eventually(30*time.Second, "the condition says so", func() bool {
			got := condition(c.run(ns, "no-runtime"), v1alpha1.ConditionReconciling)
			return got.Reason == v1alpha1.ReasonRuntimeNotFound && strings.Contains(got.Message, "not-there")
		})
	})
	t.Run("a ConfigMap that does not exist is waited for", func(t *testing.T) {
		c := connect(t)
		c.eventually(30*time.Second, "the condition says so", func() bool {
			got := condition(c.run(ns, "no-configmap"), v1alpha1.ConditionReconciling)
			return got.Reason == v1alpha1.ReasonPromptsNotFound && strings.Contains(got.Message, "not-there")
		})
	})
}
