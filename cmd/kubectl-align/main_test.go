package main

import (
	"bytes"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// listFirst is a fake client that says so to reflectors: it sends no initial events.
type listFirst struct{ client.WithWatch }

func (listFirst) IsWatchListSemanticsUnSupported() bool { return true }

// execute runs the plugin against a cluster with the objects given, in namespace team-a.
func execute(t *testing.T, args []string, objects ...client.Object) (stdout string, err error) {
	t.Helper()
	return executeWith(t, func(*options) {}, args, objects...)
}

// executeWith lets a test replace more of the options.
func executeWith(t testing.TB, change func(*options), args []string, objects ...client.Object) (stdout string, err error) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	inner := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithIndex(&v1alpha1.AlignmentRun{}, "metadata.name", func(o client.Object) []string { return []string{o.GetName()} }).Build()
	var out bytes.Buffer
	o := newOptions(genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &out, ErrOut: &bytes.Buffer{}})
	o.connect = func() (*cluster, error) { return &cluster{client: listFirst{inner}, namespace: "team-a"}, nil }
	change(o)
	root := newRoot(o)
	root.SetArgs(args)
	err = root.ExecuteContext(t.Context())
	return out.String(), err
}

func run(name, condition string) *v1alpha1.AlignmentRun {
	return &v1alpha1.AlignmentRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: name, UID: "uid"},
		Spec:       v1alpha1.AlignmentRunSpec{Evaluation: &v1alpha1.EvaluationSpec{HeadlineThreshold: "0.7"}},
		Status: v1alpha1.AlignmentRunStatus{
			Conditions: []metav1.Condition{{Type: condition, Status: metav1.ConditionTrue, Reason: "Because", Message: "it is so"}},
		},
	}
}

// spender is a run that used GPUs.
func spender(namespace string, seconds int64) *v1alpha1.AlignmentRun {
	r := run("spender", v1alpha1.ConditionComplete)
	r.Namespace, r.Spec.RuntimeRef.Name, r.Status.GPUSeconds = namespace, "wan", seconds
	return r
}

func TestCommands(t *testing.T) {
	one, other := run("one", v1alpha1.ConditionComplete), run("other", v1alpha1.ConditionFailed)
	asking := run("asking", v1alpha1.ConditionAwaitingApproval)
	asking.Status.PendingApproval = &v1alpha1.PendingApproval{Iteration: 2, Gate: v1alpha1.GateEvaluate, Digest: "sha256:ab"}
	for _, tc := range []struct {
		name    string
		args    []string
		objects []client.Object
		out     string // part of stdout
		err     string // part of the error; empty for none
	}{
		{"watch follows to the end and prints the table", []string{"watch", "one"}, []client.Object{one, other}, "No iteration has been evaluated.", ""},
		{"watch of a failed run is an error with the reason", []string{"watch", "other"}, []client.Object{one, other}, "Failed: Because", "run team-a/other failed: Because: it is so"},
		{"watch takes the only run", []string{"watch"}, []client.Object{one}, "Complete: Because", ""},
		{"watch asks when there are several", []string{"watch"}, []client.Object{one, other}, "", "namespace team-a has 2 AlignmentRuns, name one: one, other"},
		{"watch says when there is none", []string{"watch"}, nil, "", "no AlignmentRun in namespace team-a"},
		{"watch of an unknown run", []string{"watch", "two"}, []client.Object{one}, "", `"two" not found`},
		{"report of an unknown run", []string{"report", "two", "-o", "x"}, []client.Object{one}, "", `"two" not found`},
		{"report of a run that was not accepted", []string{"report", "one", "-o", "x"}, []client.Object{one}, "", "not accepted yet: its status names no store"},
		{"report needs a folder", []string{"report", "one"}, []client.Object{one}, "", `required flag(s) "out" not set`},
		{"approve answers what is asked", []string{"approve", "asking"}, []client.Object{asking}, ": Approve iteration 2 after Evaluate, sha256:ab of run asking\n", ""},
		{"approve answers what was looked at", []string{"approve", "asking", "--digest", "sha256:ab", "--iteration", "2"}, []client.Object{asking}, ": Approve iteration 2 after Evaluate, sha256:ab", ""},
		{"approve refuses another digest", []string{"approve", "asking", "--digest", "sha256:a", "--iteration", "2"}, []client.Object{asking}, "", "--digest sha256:a: run asking waits for an answer to iteration 2 after Evaluate, sha256:ab; nothing was answered"},
		{"approve refuses an empty digest", []string{"approve", "asking", "--digest="}, []client.Object{asking}, "", "waits for an answer to iteration 2"},
		{"approve refuses another iteration", []string{"approve", "asking", "--iteration", "1", "--digest", "sha256:ab"}, []client.Object{asking}, "", "--iteration 1: run asking waits for an answer to iteration 2 after Evaluate, sha256:ab; nothing was answered"},
		{"approve refuses iteration 0, the default of the flag", []string{"approve", "asking", "--iteration", "0"}, []client.Object{asking}, "", "waits for an answer to iteration 2"},
		{"approve can deny", []string{"approve", "asking", "--deny"}, []client.Object{asking}, ": Deny iteration 2 after Evaluate", ""},
		{"approve of a run that asks nothing", []string{"approve", "one"}, []client.Object{one}, "", "run one waits for no approval"},
		{"usage of the namespace", []string{"usage"}, []client.Object{one, spender("team-a", 7200), spender("team-b", 3600)}, "team-a      wan       spender   2.00", ""},
		{"usage of all namespaces", []string{"usage", "-A", "--by", "runtime"}, []client.Object{spender("team-a", 7200), spender("team-b", 3600)}, "wan       3.00", ""},
		{"usage where there is none", []string{"usage"}, []client.Object{one}, "No GPU time is recorded.\n", ""},
		{"usage by what it does not know", []string{"usage", "--by", "user"}, nil, "", "--by user: the keys are namespace, runtime, run, stage"},
		{"usage by nothing", []string{"usage", "--by="}, nil, "", "--by: name at least one of"},
		{"usage in a format that it does not know", []string{"usage", "-o", "yaml"}, nil, "", "-o yaml: the formats are table, csv and json"},
		{"usage since tomorrow", []string{"usage", "--since=-24h"}, nil, "", "--since -24h0m0s: a time is at least 0"},
		{"gc refuses an age below zero", []string{"gc", "--min-age=-500ms"}, nil, "", "--min-age -500ms: an age is at least 0"},
		{"runs are completed", []string{"__complete", "watch", ""}, []client.Object{one, other}, "one\nother\n", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := execute(t, tc.args, tc.objects...)
			if !strings.Contains(out, tc.out) {
				t.Errorf("stdout %q, want %q in it", out, tc.out)
			}
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("error %v, want %q", err, tc.err)
			}
		})
	}
}
