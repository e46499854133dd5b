package watch

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// Table is the outcome: the headline accuracy of every iteration, the baseline first, and the best adapter.
func Table(v View) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "ITERATION\tACC@%s\tDELTA\tPAIRS\tACCEPTED\n", v.Threshold)
	for _, it := range v.Iterations {
		name, accuracy, delta, pairs, accepted := fmt.Sprint(it.Number), "-", "", "-", "-"
		if it.Number == 0 {
			name, pairs, accepted = "0 (baseline)", "", ""
		}
		if it.Accuracy != nil {
			accuracy = fmt.Sprintf("%.3f", *it.Accuracy)
		}
		if it.Delta != nil {
			delta = fmt.Sprintf("%+.3f", *it.Delta)
		}
		if it.Pairs != nil {
			pairs = fmt.Sprint(*it.Pairs)
		}
		if it.Decision != nil && it.Decision.Accepted != nil {
			accepted = map[bool]string{true: "yes", false: "no"}[*it.Decision.Accepted]
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", name, accuracy, delta, pairs, accepted)
	}
	_ = w.Flush() // a strings.Builder takes everything
	b.WriteString(best(v))
	return trimLines(b.String())
}

func best(v View) string {
	switch {
	case v.Best == nil || v.Best.Iteration == nil:
		return "\nNo iteration has been evaluated.\n"
	case v.Best.Adapter == nil:
		return fmt.Sprintf("\nBest: the base model, Acc@%s %s. No adapter was accepted.\n", v.Threshold, v.Best.Accuracy)
	default:
		return fmt.Sprintf("\nBest adapter: iteration %d, Acc@%s %s\n  key     %s\n  digest  %s\n",
			*v.Best.Iteration, v.Threshold, v.Best.Accuracy, v.Best.Adapter.Key, v.Best.Adapter.Digest)
	}
}

// trimLines removes the blanks that a table's empty cells leave at line ends.
func trimLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
