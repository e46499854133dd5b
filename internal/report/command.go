package report

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

// Command is the operator binary's report command: what kubectl align report makes, from a store at hand.
func Command() *cobra.Command {
	report := &cobra.Command{Use: "report", Short: "Reports of runs, made where the store is"}
	report.AddCommand(buildCommand())
	return report
}

func buildCommand() *cobra.Command {
	var store, run, out string
	c := &cobra.Command{
		Use:   "build --run FILE --store URL --out DIR",
		Short: "Make the report of a run from a store at hand",
		Example: `  kubectl get alignmentrun first-run -o yaml > run.yaml
  spatialalign report build --run run.yaml --store file:///mnt/store --out report`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if store == "" {
				store = os.Getenv(contract.EnvStore)
			}
			object, err := readRun(run)
			if err != nil {
				return err
			}
			bundle, err := gatherFrom(c.Context(), store, PlanOf(object))
			if err != nil {
				return err
			}
			return Build(object, bundle, time.Now(), out)
		},
	}
	c.Flags().StringVar(&run, "run", "", "file with the AlignmentRun, JSON or YAML, as kubectl get prints it")
	c.Flags().StringVar(&store, "store", "", "root of the store: file:///dir or s3://bucket/prefix?region=R (default $"+contract.EnvStore+")")
	c.Flags().StringVarP(&out, "out", "o", "", "folder to write to")
	for _, name := range []string{"run", "out"} {
		_ = c.MarkFlagRequired(name)
	}
	return c
}

func readRun(file string) (*v1alpha1.AlignmentRun, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var run v1alpha1.AlignmentRun
	if err := yaml.Unmarshal(data, &run); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if run.Kind != "AlignmentRun" || run.HeadlineThreshold() == "" {
		return nil, fmt.Errorf("%s: want an AlignmentRun as kubectl get -o yaml prints it, this is %q", file, run.Kind)
	}
	return &run, nil
}

// Build composes, renders and writes a report.
func Build(run *v1alpha1.AlignmentRun, bundle *Bundle, now time.Time, dir string) error {
	files, err := Render(Compose(run, bundle.Findings, now), bundle.Videos)
	if err != nil {
		return err
	}
	return writeFiles(dir, files)
}
