package storecli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"text/tabwriter"

	"github.com/spatialalign/operator/internal/lineage"
	"github.com/spatialalign/operator/internal/retention"
	"github.com/spatialalign/operator/internal/verify"
)

// Output formats.
const (
	Text = ""
	JSON = "json"
)

// CheckOutput refuses an output format that is unknown.
func CheckOutput(format string) error {
	if format != Text && format != JSON {
		return fmt.Errorf("-o %s: the only other format is json", format)
	}
	return nil
}

// PrintLineage prints the records of a chain, newest first; only one of them when iteration is not negative.
// It is an error when that one is not in the chain, or the chain is broken.
func PrintLineage(w io.Writer, r *lineage.Result, iteration int, format string) error {
	chain := r.Chain
	if iteration >= 0 {
		chain = slices.DeleteFunc(slices.Clone(chain), func(l lineage.Link) bool { return l.Record.Iteration != iteration })
	}
	if err := printChain(w, chain, format); err != nil {
		return err
	}
	switch {
	case r.Problem != "" && (iteration < 0 || len(chain) == 0):
		return fmt.Errorf("the chain is broken: %s", r.Problem)
	case len(chain) == 0:
		return fmt.Errorf("the chain has no record of iteration %d", iteration)
	}
	return nil
}

func printChain(w io.Writer, chain []lineage.Link, format string) error {
	if format == JSON {
		return printJSON(w, chain)
	}
	for i, link := range chain {
		if i > 0 {
			fmt.Fprintln(w)
		}
		r := link.Record
		verdict := "not accepted"
		if r.Accepted {
			verdict = "accepted"
		}
		fmt.Fprintf(w, "%s/%s, iteration %d, %s: %s\n", r.Namespace, r.Run, r.Iteration, verdict, r.Reason)
		t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
		fmt.Fprintf(t, "  model\t%s  %s\n", short(r.Sampling.Model.Digest), r.Sampling.Model.Name)
		for _, role := range slices.Sorted(maps.Keys(r.Artifacts)) {
			fmt.Fprintf(t, "  %s\t%s  %s\n", role, short(r.Artifacts[role].Digest), r.Artifacts[role].Key)
		}
		fmt.Fprintf(t, "  record\t%s  %s\n", short(link.Artifact.Digest), link.Artifact.Key)
		for _, stage := range slices.Sorted(maps.Keys(r.Images)) {
			fmt.Fprintf(t, "  image of %s\t%s\n", stage, r.Images[stage])
		}
		for _, name := range slices.Sorted(maps.Keys(r.Results)) {
			fmt.Fprintf(t, "  %s\t%s\n", name, r.Results[name])
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// short is enough of a digest for people to tell it from others; JSON has all of it.
func short(digest string) string {
	const enough = len("sha256:") + 12
	return digest[:min(len(digest), enough)]
}

// PrintVerify prints what was checked, and every defect. Defects are an error.
func PrintVerify(w io.Writer, r *verify.Result, format string) error {
	if err := printChecks(w, r, format); err != nil {
		return err
	}
	if n := len(r.Defects); n > 0 {
		return fmt.Errorf("defects: %d", n)
	}
	return nil
}

func printChecks(w io.Writer, r *verify.Result, format string) error {
	if format == JSON {
		return printJSON(w, r)
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "KIND\tCHECKED\tDEFECTS")
	for _, k := range r.Kinds {
		fmt.Fprintf(t, "%s\t%d\t%d\n", k.Kind, k.Checked, k.Defects)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, d := range r.Defects {
		fmt.Fprintf(w, "%s %s: %s\n", d.Kind, d.Key, d.Problem)
	}
	return nil
}

// PrintGC prints what a collection found, or deleted.
func PrintGC(w io.Writer, r *retention.Result, format string) error {
	if format == JSON {
		return printJSON(w, r)
	}
	what := "GARBAGE"
	if r.Deleted {
		what = "DELETED"
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "KIND\tIN USE\tTOO YOUNG\t%s\tBYTES\n", what)
	var total retention.Kind
	for _, k := range r.Kinds {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%s\n", k.Kind, k.Kept.Files, k.Young.Files, k.Garbage.Files, size(k.Garbage.Bytes))
		total.Kept.Files += k.Kept.Files
		total.Young.Files += k.Young.Files
		total.Garbage.Files += k.Garbage.Files
		total.Garbage.Bytes += k.Garbage.Bytes
	}
	fmt.Fprintf(t, "total\t%d\t%d\t%d\t%s\n", total.Kept.Files, total.Young.Files, total.Garbage.Files, size(total.Garbage.Bytes))
	if err := t.Flush(); err != nil {
		return err
	}
	for _, key := range r.Gone {
		fmt.Fprintf(w, "%s is named by a living object and is not there\n", key)
	}
	if !r.Deleted && total.Garbage.Files > 0 {
		fmt.Fprintln(w, "Nothing was deleted; --delete does.")
	}
	return nil
}

// size of files for people: 0, 17 B, 1.5 MiB.
func size(bytes int64) string {
	const kibi = 1024
	value, units := float64(bytes), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for value >= kibi && len(units) > 1 {
		value, units = value/kibi, units[1:]
	}
	if value == math.Trunc(value) {
		return fmt.Sprintf("%.0f %s", value, units[0])
	}
	return fmt.Sprintf("%.1f %s", value, units[0])
}

func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
