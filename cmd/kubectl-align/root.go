package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// options are what all commands share.
type options struct {
	genericiooptions.IOStreams
	flags *genericclioptions.ConfigFlags
	// connect and dispatcher are replaced in tests.
	connect    func() (*cluster, error)
	dispatcher func(at *cluster, f errandFlags) sender
}

// cluster is where the kubeconfig and the flags point to.
type cluster struct {
	client    client.WithWatch
	config    *rest.Config
	namespace string
}

func newOptions(streams genericiooptions.IOStreams) *options {
	o := &options{IOStreams: streams, flags: genericclioptions.NewConfigFlags(true)}
	o.connect, o.dispatcher = o.connectByFlags, o.dispatch
	return o
}

func newRoot(o *options) *cobra.Command {
	root := &cobra.Command{
		Use:           "kubectl-align",
		Short:         "Follow, report on, export, approve, verify, account for and clean up after SpatialAlign runs",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl align"},
		SilenceErrors: true, SilenceUsage: true,
	}
	o.flags.AddFlags(root.PersistentFlags())
	root.SetIn(o.In)
	root.SetOut(o.Out)
	root.SetErr(o.ErrOut)
	root.AddCommand(newWatch(o), newReport(o), newExport(o), newLineage(o), newVerify(o), newGC(o), newApprove(o), newUsage(o))
	return root
}

func (o *options) connectByFlags() (*cluster, error) {
	config, err := o.flags.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	namespace, _, err := o.flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	return &cluster{client: c, config: config, namespace: namespace}, nil
}

// run connects, and finds the run that the arguments name.
func (o *options) run(ctx context.Context, args []string) (*cluster, *v1alpha1.AlignmentRun, error) {
	at, err := o.connect()
	if err != nil {
		return nil, nil, err
	}
	run, err := at.find(ctx, args)
	return at, run, err
}

// find the run that the arguments name; without a name, the only one in the namespace.
func (c *cluster) find(ctx context.Context, args []string) (*v1alpha1.AlignmentRun, error) {
	if len(args) == 1 {
		run := &v1alpha1.AlignmentRun{}
		return run, explain(c.client.Get(ctx, types.NamespacedName{Namespace: c.namespace, Name: args[0]}, run))
	}
	var list v1alpha1.AlignmentRunList
	if err := c.client.List(ctx, &list, client.InNamespace(c.namespace)); err != nil {
		return nil, explain(err)
	}
	switch len(list.Items) {
	case 0:
		return nil, fmt.Errorf("no AlignmentRun in namespace %s; -n names another namespace", c.namespace)
	case 1:
		return &list.Items[0], nil
	default:
		return nil, fmt.Errorf("namespace %s has %d AlignmentRuns, name one: %s", c.namespace, len(list.Items), strings.Join(names(list.Items), ", "))
	}
}

// explain adds what to do about an error that does not say so itself.
func explain(err error) error {
	if meta.IsNoMatchError(err) {
		return fmt.Errorf("%w: the SpatialAlign operator is not installed in this cluster", err)
	}
	return err
}

func names(runs []v1alpha1.AlignmentRun) []string {
	var names []string
	for i := range runs {
		names = append(names, runs[i].Name)
	}
	slices.Sort(names)
	return names
}

// complete suggests the names of runs to the shell.
func (o *options) complete(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	at, err := o.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var list v1alpha1.AlignmentRunList
	if err := at.client.List(c.Context(), &list, client.InNamespace(at.namespace)); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names(list.Items), cobra.ShellCompDirectiveNoFileComp
}
