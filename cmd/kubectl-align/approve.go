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
	c := &cobra.Command{
		Use:   "approve [RUN]",
		Short: "Answer the gate that a run waits at",
		Long: `Create the AlignmentApproval that a run waits for: of the iteration, the gate and the digest in its status.pendingApproval.

Look at what is to be approved first: kubectl align report RUN shows the videos. RUN may be left out where the namespace
has exactly one. Exit status: 0 when the answer is created, 1 when the run waits for none.`,
		Example: `  kubectl align approve gated-run
  kubectl align approve gated-run --deny --comment "the rabbit has five legs"`,
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
			answer := answerTo(run, pending, deny, comment)
			if err := explain(at.client.Create(c.Context(), answer)); err != nil {
				return err
			}
			fmt.Fprintf(o.Out, "alignmentapproval %s/%s: %s iteration %d after %s, %s\n",
				answer.Namespace, answer.Name, answer.Spec.Decision, pending.Iteration, pending.Gate, pending.Digest)
			return nil
		},
	}
	c.Flags().BoolVar(&deny, "deny", false, "deny instead of approving")
	c.Flags().StringVar(&comment, "comment", "", "for whoever reads the answer later")
	return c
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
