package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
)

func newApprove(o *options) *cobra.Command {
	var deny bool
	var comment string
	var want expected
	c := &cobra.Command{
		Use:   "approve [RUN] [--digest sha256:...] [--iteration K]",
		Short: "Answer the gate that a run waits at",
		Long: `Create the AlignmentApproval that a run waits for: of the iteration, the gate and the digest in its status.pendingApproval.

Look at what is to be approved first: kubectl align report RUN shows the videos. With --digest the answer is to what has
that digest and to nothing else, with --iteration to what that iteration waits for now; without both it is to whatever the
run waits for at this moment. RUN may be left out where the namespace has exactly one. Exit status: 0 when the answer is
created, 1 when the run waits for none, or for something else.`,
		Example: `  kubectl align approve gated-run --digest sha256:448e00acef9586f1876a7c4c568c15e2e7fd702a90a428c1dee146e70eb7c3f4
  kubectl align approve gated-run --iteration 2 --deny --comment "the rabbit has five legs"`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: o.complete,
		RunE: func(c *cobra.Command, args []string) error {
			at, run, err := o.run(c.Context(), args)
			if err != nil {
				return err
			}
			pending := run.Status.PendingApproval
			if pending == nil {
				return fmt.Errorf("run %s waits for no approval: its phase is %s", run.Name, run.Status.Phase)
			}
			if err := want.check(c, run.Name, pending); err != nil {
				return err
			}
			answer := answerTo(run, pending, deny, comment)
			if err := explain(at.client.Create(c.Context(), answer)); err != nil {
				return err
			}
			fmt.Fprintf(o.Out, "alignmentapproval %s/%s: %s %s of run %s\n",
				answer.Namespace, answer.Name, answer.Spec.Decision, describe(pending), run.Name)
			return nil
		},
	}
	c.Flags().BoolVar(&deny, "deny", false, "deny instead of approving")
	c.Flags().StringVar(&want.digest, flagDigest, "", "answer only if the run waits for an answer to this digest")
	c.Flags().Int32Var(&want.iteration, flagIteration, 0, "answer only if this iteration waits")
	c.Flags().StringVar(&comment, "comment", "", "for whoever reads the answer later")
	return c
}

const (
	flagDigest    = "digest"
	flagIteration = "iteration"
)

// expected is what the user looked at.
type expected struct {
	digest    string
	iteration int32
}

// check that it is what a run waits for. A flag that is given counts also when it is empty, as a script's variable may be.
func (e *expected) check(c *cobra.Command, run string, pending *v1alpha1.PendingApproval) error {
	switch {
	case c.Flags().Changed(flagDigest) && e.digest != string(pending.Digest):
		return fmt.Errorf("--digest %s: run %s waits for an answer to %s; nothing was answered", e.digest, run, describe(pending))
	case c.Flags().Changed(flagIteration) && e.iteration != pending.Iteration:
		return fmt.Errorf("--iteration %d: run %s waits for an answer to %s; nothing was answered", e.iteration, run, describe(pending))
	}
	return nil
}

func describe(pending *v1alpha1.PendingApproval) string {
	return fmt.Sprintf("iteration %d after %s, %s", pending.Iteration, pending.Gate, pending.Digest)
}

// answerTo is the AlignmentApproval of what a run asks.
func answerTo(run *v1alpha1.AlignmentRun, pending *v1alpha1.PendingApproval, deny bool, comment string) *v1alpha1.AlignmentApproval {
	decision := v1alpha1.DecisionApprove
	if deny {
		decision = v1alpha1.DecisionDeny
	}
	return &v1alpha1.AlignmentApproval{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:    run.Namespace,
			GenerateName: fmt.Sprintf("%s-%d-%s-", run.Name, pending.Iteration, strings.ToLower(string(pending.Gate))),
		},
		Spec: v1alpha1.AlignmentApprovalSpec{
			RunName: run.Name, RunUID: string(run.UID), Iteration: pending.Iteration, Gate: pending.Gate, Digest: pending.Digest,
			Decision: decision, Comment: comment,
		},
	}
}
