package storecli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/lineage"
	"github.com/spatialalign/operator/internal/retention"
	"github.com/spatialalign/operator/internal/verify"
)

// DefaultMinAge spares what is younger from garbage collection.
const DefaultMinAge = 7 * 24 * time.Hour

// MinAgeSeconds is --min-age in whole seconds. A part of a second is a whole one: nothing younger is collected.
func MinAgeSeconds(minAge time.Duration) (int64, error) {
	if minAge < 0 {
		return 0, fmt.Errorf("--min-age %v: an age is at least 0", minAge)
	}
	return int64(math.Ceil(minAge.Seconds())), nil
}

// Commands lists the commands, to be mounted under a root command.
func Commands() []*cobra.Command {
	return []*cobra.Command{lineageCommand(), verifyCommand(), gcCommand()}
}

// storeFlags say where the store is and how to print.
type storeFlags struct{ store, output string }

func (f *storeFlags) add(c *cobra.Command) {
	c.Args = cobra.NoArgs
	c.Flags().StringVar(&f.store, "store", "", "root of the store: file:///dir or s3://bucket/prefix?region=R (default $"+contract.EnvStore+")")
	c.Flags().StringVarP(&f.output, "output", "o", Text, "json for JSON")
}

// with opens the store for a while.
func (f *storeFlags) with(ctx context.Context, work func(store *artifact.Store) error) error {
	if err := CheckOutput(f.output); err != nil {
		return err
	}
	url := f.store
	if url == "" {
		url = os.Getenv(contract.EnvStore)
	}
	if url == "" {
		return fmt.Errorf("no store: set %s or --store", contract.EnvStore)
	}
	store, err := artifact.OpenExisting(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(work(store), store.Close())
}

func lineageCommand() *cobra.Command {
	var flags storeFlags
	var from, run string
	var iteration int
	c := &cobra.Command{
		Use:   "lineage --run FILE|--from KEY@DIGEST",
		Short: "Print what the iterations of a run were made of, newest first",
		Example: `  kubectl get alignmentrun first-run -o yaml > run.yaml
  spatialalign lineage --run run.yaml --store file:///mnt/store
  spatialalign lineage --from runs/7c0e.../lineage.json@sha256:9f86... --iteration 2 -o json`,
		RunE: func(c *cobra.Command, _ []string) error {
			newest, err := newestRecord(from, run, sayTo(c))
			if err != nil {
				return err
			}
			return flags.with(c.Context(), func(store *artifact.Store) error {
				result, err := lineage.Run(c.Context(), store, lineage.Question{Newest: newest})
				if err != nil {
					return err
				}
				return PrintLineage(c.OutOrStdout(), result, iteration, flags.output)
			})
		},
	}
	flags.add(c)
	c.Flags().StringVar(&run, "run", "", "file with the AlignmentRun, JSON or YAML, as kubectl get prints it")
	c.Flags().StringVar(&from, "from", "", "the newest record, as KEY@sha256:...")
	c.Flags().IntVar(&iteration, "iteration", -1, "print this iteration alone (default all)")
	c.MarkFlagsOneRequired("run", "from")
	c.MarkFlagsMutuallyExclusive("run", "from")
	return c
}

// newestRecord also says which iterations of the run have none.
func newestRecord(from, runFile string, say func(string, ...any)) (contract.Artifact, error) {
	if from != "" {
		key, digest, _ := strings.Cut(from, "@")
		a := contract.Artifact{Key: key, Digest: digest}
		if err := a.Valid(); err != nil {
			return a, fmt.Errorf("--from %s: want KEY@sha256:...: %w", from, err)
		}
		return a, nil
	}
	run, err := readRun(runFile)
	if err != nil {
		return contract.Artifact{}, err
	}
	for _, why := range verify.Unrecorded(run) {
		say("%s", why)
	}
	newest := verify.NewestLineage(run)
	if newest == nil {
		return contract.Artifact{}, fmt.Errorf("%s: the run has no lineage yet", runFile)
	}
	return *newest, nil
}

func verifyCommand() *cobra.Command {
	var flags storeFlags
	var run string
	c := &cobra.Command{
		Use:   "verify --run FILE",
		Short: "Check every digest of a run: artifacts, lineage and samples",
		Long:  "Reads everything that the run's status and its lineage name, and every sample that their indexes, scores and pairs name. Exit code 1 on any defect.",
		RunE: func(c *cobra.Command, _ []string) error {
			object, err := readRun(run)
			if err != nil {
				return err
			}
			for _, why := range verify.Unrecorded(object) {
				sayTo(c)("%s", why)
			}
			question, err := verify.QuestionOf(object)
			if err != nil {
				return err
			}
			return flags.with(c.Context(), func(store *artifact.Store) error {
				result, err := verify.Run(c.Context(), store, question, sayTo(c))
				if err != nil {
					return err
				}
				return PrintVerify(c.OutOrStdout(), result, flags.output)
			})
		},
	}
	flags.add(c)
	c.Flags().StringVar(&run, "run", "", "file with the AlignmentRun, JSON or YAML, as kubectl get prints it")
	_ = c.MarkFlagRequired("run") // fails only for a flag that is not there
	return c
}

func gcCommand() *cobra.Command {
	var flags storeFlags
	var file string
	var minAge time.Duration
	var remove bool
	c := &cobra.Command{
		Use:   "gc --objects FILE [--delete]",
		Short: "Count, or delete, what no living object refers to",
		Long: "Counts what lies in the store of a namespace and no AlignmentRun, ScoringBatch or PreferenceDataset refers to; --delete deletes it.\n" +
			"FILE must list all objects of these three kinds that the namespace has: what is not in it counts as deleted.",
		Example: `  kubectl get alignmentruns,scoringbatches,preferencedatasets -n team-a -o yaml > objects.yaml
  spatialalign gc --objects objects.yaml --store file:///mnt/store --min-age 168h`,
		RunE: func(c *cobra.Command, _ []string) error {
			seconds, err := MinAgeSeconds(minAge)
			if err != nil {
				return err
			}
			objects, err := readObjects(file)
			if err != nil {
				return err
			}
			roots, err := retention.RootsOf(objects)
			if err != nil {
				return err
			}
			question := retention.Question{Roots: roots, MinAgeSeconds: seconds, Delete: remove}
			return flags.with(c.Context(), func(store *artifact.Store) error {
				result, err := retention.Run(c.Context(), store, question, time.Now(), sayTo(c))
				if err != nil {
					return err
				}
				return PrintGC(c.OutOrStdout(), result, flags.output)
			})
		},
	}
	flags.add(c)
	c.Flags().StringVar(&file, "objects", "", "file with all objects of the namespace, JSON or YAML, as kubectl get prints them")
	c.Flags().DurationVar(&minAge, "min-age", DefaultMinAge, "spare what was written more recently")
	c.Flags().BoolVar(&remove, "delete", false, "delete what was found; without it nothing changes")
	_ = c.MarkFlagRequired("objects") // fails only for a flag that is not there
	return c
}

func sayTo(c *cobra.Command) func(string, ...any) {
	return func(format string, args ...any) { fmt.Fprintf(c.ErrOrStderr(), format+"\n", args...) }
}
