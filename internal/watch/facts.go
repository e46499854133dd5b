package watch

import (
	"fmt"
	"time"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// Fact is one thing worth a line of its own.
type Fact struct {
	// Key tells whether it was said before; the text may hold an estimate that changes.
	Key  string
	Text string
	// At is when it became true; zero means now.
	At time.Time
}

// Facts of a view, in the order of the run. Printing those whose keys are new, and no others, says
// each change exactly once, also after a watch that broke.
func Facts(v View, now time.Time) []Fact {
	var facts []Fact
	add := func(at time.Time, key, format string, args ...any) {
		facts = append(facts, Fact{Key: key, Text: fmt.Sprintf(format, args...), At: at})
	}
	for _, n := range v.Notes {
		add(n.Since, fmt.Sprint(n.Type, "/", n.Since.Unix(), "/", n.Message), "%s: %s: %s", n.Type, n.Reason, n.Message)
	}
	for _, it := range v.Iterations {
		for _, s := range it.Stages {
			facts = append(facts, stageFacts(it.Number, s, now)...)
		}
		if it.Accuracy != nil {
			add(it.End, fmt.Sprint(it.Number, "/accuracy"), "%s: %s", iterationName(it.Number), accuracyText(v, it))
		}
		if d := it.Decision; d != nil && d.Accepted != nil {
			verdict := map[bool]string{true: "accepted", false: "rejected"}[*d.Accepted]
			add(it.End, fmt.Sprint(it.Number, "/decision"), "%s: %s: %s", iterationName(it.Number), verdict, printable(d.Message))
		}
	}
	if v.Ending != nil {
		add(v.Ending.Since, v.Ending.Type, "%s: %s: %s", v.Ending.Type, v.Ending.Reason, v.Ending.Message)
	}
	return facts
}

// Title of a stage: its name, with the round of samples that it belongs to if that is not the first.
func (s *Stage) Title() string {
	if s.Round > 0 {
		return fmt.Sprintf("%s, round %d", s.Name, s.Round+1)
	}
	return string(s.Name)
}

func stageFacts(iteration int32, s Stage, now time.Time) []Fact {
	if s.State == "" {
		return nil
	}
	subject := fmt.Sprintf("%s: %s", iterationName(iteration), s.Title())
	key := func(parts ...any) string {
		return fmt.Sprint(append([]any{iteration, "/", s.Title(), "/"}, parts...)...)
	}
	facts := []Fact{{Key: key("started"), Text: subject + " started", At: s.Start}}
	if s.Attempt > 0 {
		facts = append(facts, Fact{Key: key("attempt", s.Attempt), Text: fmt.Sprintf("%s attempt %d", subject, s.Attempt+1)})
	}
	switch s.State {
	case v1alpha1.StageRunning:
		if s.Message != "" {
			facts = append(facts, Fact{Key: key(s.Message), Text: subject + ": " + s.Message})
		}
		if p := s.Progress; p != nil {
			text := fmt.Sprintf("%s %d%%", subject, p.Percentage)
			if p.Step != "" {
				text = fmt.Sprintf("%s (%s) %d%%", subject, p.Step, p.Percentage)
			}
			if left, known := p.Left(now); known && left > 0 {
				text += ", about " + short(left) + " left"
			}
			facts = append(facts, Fact{Key: key(s.Attempt, p.Step, p.Percentage), Text: text})
		}
	case v1alpha1.StageSucceeded:
		facts = append(facts, Fact{Key: key("ended"), Text: fmt.Sprintf("%s done in %s", subject, short(s.End.Sub(s.Start))), At: s.End})
	case v1alpha1.StageFailed:
		facts = append(facts, Fact{Key: key("ended"), Text: fmt.Sprintf("%s failed: %s", subject, s.Message), At: s.End})
	case v1alpha1.StageStopped:
		facts = append(facts, Fact{Key: key("ended"), Text: subject + ": " + s.Message, At: s.End})
	}
	return facts
}

func iterationName(n int32) string {
	if n == 0 {
		return "baseline"
	}
	return fmt.Sprintf("iteration %d", n)
}

func accuracyText(v View, it Iteration) string {
	text := fmt.Sprintf("Acc@%s %.3f", v.Threshold, *it.Accuracy)
	if it.Delta != nil {
		text += fmt.Sprintf(" (%+.3f)", *it.Delta)
	}
	return text
}
