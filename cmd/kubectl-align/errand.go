package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/errand/dispatch"
	"github.com/spatialalign/operator/internal/verify"
)

// errandFlags are those of the commands that send a pod to the store.
type errandFlags struct {
	image        string
	startTimeout time.Duration
	timeout      time.Duration
}

func (f *errandFlags) add(c *cobra.Command, timeout time.Duration) {
	c.Flags().StringVar(&f.image, "image", "", "the operator's image (default: the one that Jobs of the run or namespace used)")
	c.Flags().DurationVar(&f.startTimeout, "start-timeout", 2*time.Minute, "how long the pod may take to start")
	c.Flags().DurationVar(&f.timeout, "timeout", timeout, "how long all of it may take; the pod ends then, whatever happens")
}

const errandHelp = `
The store is read by a short-lived pod in the namespace, asked through a port-forward, so that it works with
every store. The pod is removed in the end, also on Ctrl-C. It takes the rights to list jobs, to create, list,
watch and delete pods, and to get and create pods/portforward in that namespace.`

// send an errand, with the question as JSON.
func (o *options) send(c *cobra.Command, at *cluster, f errandFlags, e dispatch.Errand, question any) (answer []byte, err error) {
	if e.Question, err = json.Marshal(question); err != nil {
		return nil, fmt.Errorf("question: %w", err)
	}
	return o.dispatcher(at, f).Send(c.Context(), e)
}

// ask is send for answers that are JSON.
func ask[T any](o *options, c *cobra.Command, at *cluster, f errandFlags, e dispatch.Errand, question any) (*T, error) {
	data, err := o.send(c, at, f, e, question)
	if err != nil {
		return nil, err
	}
	answer := new(T)
	if err := json.Unmarshal(data, answer); err != nil {
		return nil, fmt.Errorf("answer of pod: %w: is --image of this version?", err)
	}
	return answer, nil
}

// sender sends errands.
type sender interface {
	Send(ctx context.Context, e dispatch.Errand) ([]byte, error)
}

// dispatch gives the sender of a real cluster.
func (o *options) dispatch(at *cluster, f errandFlags) sender {
	return &dispatch.Dispatcher{
		Client: at.client, Forward: dispatch.PortForward(at.config), Image: f.image,
		StartTimeout: f.startTimeout, Timeout: f.timeout, PollInterval: time.Second, Say: o.say,
	}
}

func (o *options) say(format string, args ...any) { fmt.Fprintf(o.ErrOut, format+"\n", args...) }

// errandOf a run.
func errandOf(name string, run *v1alpha1.AlignmentRun) (dispatch.Errand, error) {
	if run.Status.Runtime == nil {
		return dispatch.Errand{}, verify.ErrNotAccepted
	}
	return dispatch.Errand{Name: name, Namespace: run.Namespace, Run: run, Runtime: &run.Status.Runtime.Spec}, nil
}
