package plan

import (
	"cmp"
	"slices"

	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// mend makes a run's status one that the plan can go by, whoever wrote it: records are in order, and what lacks something
// that it builds on is dropped, to be made again from the children and their manifests. It tells whether it had to.
func mend(s *v1alpha1.AlignmentRunStatus) bool {
	m := &mender{}
	m.order(s)
	if p := s.Progress; p != nil && p.Iteration == nil {
		s.Progress, m.mended = nil, true
	}
	if p := s.PendingApproval; p != nil && p.Since == nil {
		s.PendingApproval, m.mended = nil, true
	}
	if s.InitialDataset != nil {
		m.pairs(&s.InitialDataset)
	}
	for i := range s.Iterations {
		m.iteration(&s.Iterations[i])
		m.stages(&s.Iterations[i].Stages, Ended(s.Conditions))
		m.results(s, &s.Iterations[i])
	}
	m.best(s)
	return m.mended
}

// mender remembers whether it mended anything.
type mender struct{ mended bool }

// order sorts the iterations; of two of the same number the first stays.
func (m *mender) order(s *v1alpha1.AlignmentRunStatus) {
	number := func(it v1alpha1.IterationStatus) int32 { return ptr.Deref(it.Iteration, -1) }
	compare := func(a, b v1alpha1.IterationStatus) int { return cmp.Compare(number(a), number(b)) }
	if !slices.IsSortedFunc(s.Iterations, compare) {
		slices.SortStableFunc(s.Iterations, compare)
		m.mended = true
	}
	last := int32(-1)
	s.Iterations = slices.DeleteFunc(s.Iterations, func(it v1alpha1.IterationStatus) bool {
		again := number(it) <= last
		last = max(last, number(it))
		m.mended = m.mended || again
		return again
	})
}

// iteration drops results that are not whole, and what was decided without them.
func (m *mender) iteration(it *v1alpha1.IterationStatus) {
	m.scores(&it.Samples)
	m.scores(&it.Evaluation)
	m.pairs(&it.Pairs)
	rounds := len(it.Resampled)
	it.Resampled = slices.DeleteFunc(it.Resampled, func(r v1alpha1.ResampledRound) bool { return it.Samples == nil || !soundScores(&r.Samples) })
	answers := len(it.Approvals)
	it.Approvals = slices.DeleteFunc(it.Approvals, func(a v1alpha1.ApprovalRecord) bool { return a.Approved == nil })
	m.mended = m.mended || len(it.Resampled) != rounds || len(it.Approvals) != answers
	if c := it.Comparison; c != nil && (c.Iteration == nil || it.Evaluation == nil) {
		it.Comparison, m.mended = nil, true
	}
	if again := it.Reevaluation; again != nil && (again.Iteration == nil || !soundScores(&again.Evaluation)) {
		it.Reevaluation, m.mended = nil, true
	}
	if d := it.Decision; d != nil && (d.Accepted == nil || it.Comparison == nil || it.Pairs == nil || *it.Iteration == 0) {
		it.Decision, it.CompletionTime, m.mended = nil, nil, true
	}
}

// stages fills in what the API server defaults or requires. Nothing but a run's end stops its stages.
func (m *mender) stages(records *[]v1alpha1.StageStatus, ended bool) {
	for i := range *records {
		rec := &(*records)[i]
		if rec.Round == nil || rec.Attempt == nil {
			rec.Round, rec.Attempt, m.mended = ptr.To(ptr.Deref(rec.Round, 0)), ptr.To(ptr.Deref(rec.Attempt, 0)), true
		}
		if rec.State == v1alpha1.StageStopped && !ended {
			rec.State, rec.CompletionTime, m.mended = v1alpha1.StageRunning, nil, true
		}
		pods := len(rec.Usage)
		rec.Usage = slices.DeleteFunc(rec.Usage, func(u v1alpha1.GPUUsage) bool { return u.GPUSeconds == nil })
		m.mended = m.mended || len(rec.Usage) != pods
	}
}

// results drops the records of stages that succeeded and whose result is not there.
func (m *mender) results(s *v1alpha1.AlignmentRunStatus, it *v1alpha1.IterationStatus) {
	stages := len(it.Stages)
	it.Stages = slices.DeleteFunc(it.Stages, func(rec v1alpha1.StageStatus) bool { return succeeded(&rec) && !hasResult(s, it, &rec) })
	m.mended = m.mended || len(it.Stages) != stages
}

func hasResult(s *v1alpha1.AlignmentRunStatus, it *v1alpha1.IterationStatus, rec *v1alpha1.StageStatus) bool {
	switch rec.Name {
	case v1alpha1.StagePrepare:
		return (len(rec.Outputs) > 0 || passed(s, max(*it.Iteration, 1))) && s.Prompts != nil
	case v1alpha1.StageEvaluationPrepare, v1alpha1.StageReevaluationPrepare:
		return len(rec.Outputs) > 0 || passed(s, *it.Iteration)
	case v1alpha1.StageScore:
		return it.Samples != nil && int(*rec.Round) <= len(it.Resampled)
	case v1alpha1.StagePair:
		return it.Pairs != nil
	case v1alpha1.StageTrain:
		return it.Adapter != nil
	case v1alpha1.StageEvaluationScore:
		return it.Evaluation != nil
	case v1alpha1.StageCompare:
		return it.Comparison != nil || it.Reevaluation != nil
	case v1alpha1.StageReevaluationScore:
		return it.Reevaluation != nil
	case v1alpha1.StageReevaluationCompare:
		return it.Comparison != nil && it.Reevaluation != nil
	case v1alpha1.StageLineage:
		return it.Lineage != nil
	case v1alpha1.StageTestScore:
		return s.Test != nil
	default:
		return true
	}
}

// passed says that an iteration is over, so that nobody reads what its stages put out.
func passed(s *v1alpha1.AlignmentRunStatus, k int32) bool {
	return slices.ContainsFunc(s.Iterations, func(it v1alpha1.IterationStatus) bool {
		return it.Iteration != nil && *it.Iteration >= k && (it.CompletionTime != nil || it.Lineage != nil)
	})
}

// best finds the best adapter by the decisions where status names none that is there. Without a baseline there is none, and
// nothing can have been decided.
func (m *mender) best(s *v1alpha1.AlignmentRunStatus) {
	var found *v1alpha1.IterationStatus
	named := false
	for i := range s.Iterations {
		it := &s.Iterations[i]
		if it.Evaluation == nil {
			continue
		}
		if *it.Iteration == 0 || found != nil && it.Decision != nil && *it.Decision.Accepted {
			found = it
		}
		named = named || s.Best != nil && s.Best.Iteration != nil && *s.Best.Iteration == *it.Iteration
	}
	switch {
	case found == nil:
		m.mended = m.mended || s.Best != nil
		s.Best = nil
		for i := range s.Iterations {
			if it := &s.Iterations[i]; it.Comparison != nil || it.Decision != nil {
				it.Comparison, it.Decision, it.CompletionTime, m.mended = nil, nil, nil, true
				m.results(s, it)
			}
		}
	case !named:
		s.Best, m.mended = &v1alpha1.BestAdapter{Iteration: found.Iteration, Accuracy: s.Accuracy, Adapter: found.Adapter, Lineage: found.Lineage}, true
	}
}

func (m *mender) scores(s **v1alpha1.ScoreSummary) {
	if *s != nil && !soundScores(*s) {
		*s, m.mended = nil, true
	}
}

func (m *mender) pairs(p **v1alpha1.PairSummary) {
	if *p != nil && !soundPairs(*p) {
		*p, m.mended = nil, true
	}
}

func soundScores(s *v1alpha1.ScoreSummary) bool {
	return s != nil && s.Total != nil && s.Scored != nil && s.Invalid != nil && s.Missing != nil && s.Scores != nil
}

func soundPairs(p *v1alpha1.PairSummary) bool {
	return p != nil && p.Pairs != nil && p.UsablePrompts != nil && p.Winners != nil && p.Losers != nil && p.Invalid != nil && p.Artifact != nil
}

// vouched are the children, but those that say they succeeded and do not bring their result have failed: somebody wrote their
// status, or took the record of what they brought out of the run's.
func vouched(children []Child) []Child {
	children = slices.Clone(children)
	for i := range children {
		if c := &children[i]; c.Outcome.State == jobs.Succeeded && !c.brings() {
			c.Outcome.State, c.Outcome.Class, c.Outcome.Message = jobs.Failed, jobs.ClassNoManifest, "it is complete and does not tell its result"
		}
	}
	return children
}

func (c *Child) brings() bool {
	output := ""
	switch c.Place.Stage {
	case v1alpha1.StageScore, v1alpha1.StageEvaluationScore, v1alpha1.StageReevaluationScore, v1alpha1.StageTestScore:
		return c.Batch != nil && soundScores(c.Batch.Status.Summary)
	case v1alpha1.StagePair:
		return c.Dataset != nil && soundPairs(c.Dataset.Status.Summary)
	case v1alpha1.StageTrain:
		output = "adapter"
	case v1alpha1.StageCompare, v1alpha1.StageReevaluationCompare:
		output = "verdict"
	case v1alpha1.StageLineage:
		output = "lineage"
	default:
		return true
	}
	_, ok := c.Outcome.Outputs[output]
	return ok
}
