package watch

import (
	"fmt"
	"strings"
	"time"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// Size of a terminal in columns and rows.
type Size struct{ Columns, Rows int }

// Screen is the view as rows that fit a terminal of the size given. connection, when not empty, says
// that the API server cannot be reached and that what is shown may be old.
func Screen(v View, now time.Time, size Size, color bool, connection string) []string {
	if !v.End.IsZero() {
		now = v.End
	}
	rows := rowsOf(v, now, size.Columns, connection, true)
	if len(rows) >= size.Rows {
		rows = rowsOf(v, now, size.Columns, connection, false)
	}
	return fit(rows, size, color)
}

// rowsOf leaves stages that have not begun away when ahead is false.
func rowsOf(v View, now time.Time, columns int, connection string, ahead bool) []line {
	rows := []line{headLine(v, now)}
	if connection != "" {
		rows = append(rows, line{{"  ! " + printable(connection), amber}})
	}
	for _, n := range v.Notes {
		rows = append(rows, line{{fmt.Sprintf("  ! %s: %s: %s", n.Type, n.Reason, n.Message), amber}})
	}
	rows = append(rows, line{})
	for _, it := range v.Iterations {
		rows = append(rows, iterationLine(v, it, now))
		if !it.End.IsZero() {
			continue // its own line says it all
		}
		for _, s := range it.Stages {
			if ahead || s.State != "" {
				rows = append(rows, stageLines(s, now, columns)...)
			}
		}
	}
	if v.Ending != nil {
		rows = append(rows, line{}, endLine(*v.Ending))
	}
	return rows
}

// fit drops rows below the first when there are too many for the terminal: the newest stand last.
func fit(rows []line, size Size, color bool) []string {
	if limit := max(size.Rows-1, 3); len(rows) > limit {
		kept := limit - 2
		dropped := plural(int64(len(rows)-1-kept), "row")
		rows = append([]line{rows[0], {{"  … " + dropped + " above", dim}}}, rows[len(rows)-kept:]...)
	}
	text := make([]string, len(rows))
	for i, row := range rows {
		text[i] = row.render(size.Columns, color)
	}
	return text
}

func headLine(v View, now time.Time) line {
	phase := blue
	switch v.Phase {
	case v1alpha1.PhaseSucceeded:
		phase = green
	case v1alpha1.PhaseFailed:
		phase = red
	case v1alpha1.PhaseSuspended, v1alpha1.PhasePending:
		phase = amber
	}
	var l line
	l.add(bold, "%s/%s", v.Namespace, v.Name)
	state := string(v.Phase)
	if state == "" {
		state = "Unknown"
	}
	l.add(phase, "  %s", state)
	l.add(plain, "  %s", short(now.Sub(v.Start)))
	l.add(dim, "  runtime %s", v.Runtime)
	if v.Model != "" {
		l.add(dim, ", model %s", v.Model)
	}
	return l
}

func iterationLine(v View, it Iteration, now time.Time) line {
	var l line
	name := "Baseline"
	if it.Number > 0 {
		name = fmt.Sprintf("Iteration %d of %d", it.Number, max(v.Wanted, it.Number))
	}
	l.add(bold, "%-18s", name)
	switch {
	case it.Accuracy != nil:
		l.add(plain, "  Acc@%s ", v.Threshold)
		l.add(bold, "%.3f", *it.Accuracy)
		if it.Delta != nil {
			sign := green
			if *it.Delta < 0 {
				sign = red
			}
			l.add(sign, " %+.3f", *it.Delta)
		} else {
			l.add(plain, "       ")
		}
		l.add(dim, "  %s", bar(int32(*it.Accuracy*100+0.5), 20))
	case !it.Start.IsZero():
		l.add(dim, "  %s", short(now.Sub(it.Start)))
	}
	if it.Pairs != nil {
		l.add(dim, "  %s", plural(*it.Pairs, "pair"))
	}
	if it.Decision != nil && it.Decision.Accepted != nil {
		if *it.Decision.Accepted {
			l.add(green, "  accepted")
		} else {
			l.add(amber, "  rejected")
		}
	}
	return l
}

const nameColumns = 18

func stageLines(s Stage, now time.Time, columns int) []line {
	var l line
	switch s.State {
	case v1alpha1.StageSucceeded:
		l.add(green, "  ✓ ")
		l.add(plain, "%-*s", nameColumns, s.Title())
		l.add(dim, " %s", short(s.End.Sub(s.Start)))
	case v1alpha1.StageFailed:
		l.add(red, "  ✗ ")
		l.add(plain, "%-*s", nameColumns, s.Title())
		l.add(red, " failed")
	case v1alpha1.StageStopped:
		l.add(dim, "  ■ %-*s stopped", nameColumns, s.Title())
	case v1alpha1.StageRunning:
		l.add(blue, "  ▸ ")
		l.add(bold, "%-*s ", nameColumns, s.Title())
		runningStage(&l, s, now, columns)
	default:
		l.add(dim, "  · %s", s.Title())
	}
	rows := []line{l}
	if s.Message != "" && s.State != v1alpha1.StageSucceeded {
		rows = append(rows, line{{strings.Repeat(" ", 4) + s.Message, amber}})
	}
	return rows
}

func runningStage(l *line, s Stage, now time.Time, columns int) {
	if p := s.Progress; p != nil {
		// What stands left of the bar and right of it takes 55 columns.
		l.add(blue, "%s", bar(p.Percentage, min(max(columns-55, 5), 30)))
		l.add(plain, " %3d%%", p.Percentage)
		if p.Step != "" {
			l.add(plain, "  %s", p.Step)
		}
		if left, known := p.Left(now); known && left > 0 {
			l.add(plain, "  %s left", short(left))
		}
	} else if !s.Start.IsZero() {
		l.add(dim, "%s", short(now.Sub(s.Start)))
	}
	if s.Attempt > 0 {
		l.add(amber, "  attempt %d", s.Attempt+1)
	}
}

func endLine(n Note) line {
	s := green
	if n.Type == v1alpha1.ConditionFailed {
		s = red
	}
	return line{{fmt.Sprintf("%s: %s", n.Type, n.Reason), s}, {": " + n.Message, plain}}
}
