package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// lineages records in the store what every decided iteration was made of, one after the other: each names the one before.
func (r *runPlan) lineages() (recorded bool) {
	for i := range r.status.Iterations {
		it := &r.status.Iterations[i]
		if it.Decision == nil || it.Lineage != nil {
			continue
		}
		k := *it.Iteration
		_, child := r.step(jobs.Place{Iteration: k, Stage: v1alpha1.StageLineage}, r.recordLineage)
		if child == nil {
			return false
		}
		r.recorded(k, child)
		r.trim(r.decided())
		return r.lineages()
	}
	return true
}

// lastLineage records what the iteration was made of that the run ends in the middle of, as far as it came. An end does not wait
// for a record that cannot be written.
func (r *runPlan) lastLineage(end *ending) (recorded bool) {
	k := r.undecided
	if k == 0 || r.record(k).Lineage != nil {
		return true
	}
	failed := r.stages.failed
	_, child := r.step(jobs.Place{Iteration: k, Stage: v1alpha1.StageLineage}, func(p jobs.Place) Object {
		return r.lineageJob(p, undecided(end.reason+": "+end.message))
	})
	r.stages.failed = failed
	if child == nil {
		return r.stage(k, v1alpha1.StageLineage, 0).State == v1alpha1.StageFailed
	}
	r.recorded(k, child)
	return true
}

// lineageLags says that the next iteration has to wait for lineages: until they are there status keeps what they tell, and it
// has room for a few more iterations only.
func (r *runPlan) lineageLags() bool {
	missing := 0
	for i := range r.status.Iterations {
		if it := &r.status.Iterations[i]; it.Decision != nil && it.Lineage == nil {
			missing++
		}
	}
	return missing >= maxMissingLineages
}

const maxMissingLineages = 4

func (r *runPlan) recordLineage(p jobs.Place) Object {
	return r.lineageJob(p, r.record(p.Iteration).Decision)
}

// lineage is what suffices to make iteration k again, as far as it came before what was decided.
func (r *runPlan) lineage(k int32, decision *v1alpha1.Decision) contract.LineageRecord {
	it := r.record(k)
	record := contract.LineageRecord{
		ContractVersion: contract.Version, Namespace: r.run.Namespace, Run: r.run.Name, UID: string(r.run.UID), Iteration: int(k),
		CodeVersion: r.Config.Version, Spec: encoded(r.run.Spec), Runtime: encoded(r.status.Runtime.Spec), Images: r.imagesOf(it),
		Sampling: r.sampling(r.policy(k)), Training: &r.resolved.training,
		TrainingSeeds: contract.SeedRule{Seed: r.resolved.seed, Iteration: int(k)}, EvaluationSeed: r.resolved.evaluationSeed,
		Rounds: 1 + len(it.Resampled), Artifacts: map[string]contract.Artifact{}, Results: results(it, r.resolved.headline),
		Accepted: *decision.Accepted, Reason: decision.Message,
	}
	if it.Adapter == nil {
		record.Training = nil
	}
	r.takenOver(&record)
	add := func(role string, a *v1alpha1.ArtifactReference) {
		if a != nil && a.Digest != "" {
			record.Artifacts[role] = artifact(*a)
		}
	}
	prompts := r.status.Prompts
	record.Artifacts["prompts/"+setTrain] = promptArtifact(prompts.Train)
	record.Artifacts["prompts/"+setEvaluation] = promptArtifact(prompts.Evaluation)
	if prompts.Test != nil {
		record.Artifacts["prompts/"+setTest] = promptArtifact(*prompts.Test)
	}
	if it.Samples != nil {
		add("scores/0", it.Samples.Scores)
	}
	for i := range it.Resampled {
		add("scores/"+strconv.Itoa(int(it.Resampled[i].Round)), it.Resampled[i].Samples.Scores)
	}
	for i := range it.Stages {
		if rec := &it.Stages[i]; rec.Name == v1alpha1.StageSample && succeeded(rec) && !r.scored(k, *rec.Round) {
			add("index/"+strconv.Itoa(int(*rec.Round)), reference(r.trainingIndex(jobs.Place{Iteration: k, Round: *rec.Round})))
		}
	}
	if it.Pairs != nil {
		add("pairs", it.Pairs.Artifact)
	}
	add("adapter", it.Adapter)
	if it.Adapter != nil {
		for role, a := range map[string]*contract.Artifact{"startAdapter": r.start(k), "referenceAdapter": r.referenceAdapter(k)} {
			if a != nil && a.Digest != "" {
				record.Artifacts[role] = *a
			}
		}
	}
	if it.Evaluation != nil {
		add("evaluation", it.Evaluation.Scores)
	}
	if it.Comparison != nil {
		add("verdict", it.Comparison.Verdict)
		if compared := r.measured(*it.Comparison.Iteration, k); compared != nil {
			add("best", compared.Scores)
		}
	}
	for i := range r.status.Iterations {
		if before := &r.status.Iterations[i]; *before.Iteration < k && before.Lineage != nil {
			record.Previous = ptr.To(artifact(*before.Lineage)) // one that could not be written is passed over
		}
	}
	return record
}

// takenOver tells in a record what another run made of the iteration.
func (r *runPlan) takenOver(record *contract.LineageRecord) {
	again := r.run.Spec.Rerun
	if again == nil || record.Iteration != int(again.Iteration) || again.Stage == v1alpha1.RerunSample {
		return
	}
	record.TakenOver = &contract.TakenOver{Run: again.RunName, Stage: string(again.Stage)}
	trained := again.Stage == v1alpha1.RerunEvaluate
	if trained {
		record.Training = nil
	}
	from := r.Rerun
	if from == nil || from.Status.Runtime == nil {
		return
	}
	was := &runPlan{run: from, status: from.Status}
	it := was.record(again.Iteration)
	if it == nil || !sameWork(it, r.record(again.Iteration), again.Stage) {
		return // another run has its name by now
	}
	record.TakenOver.UID, record.TakenOver.Spec, record.TakenOver.Images = string(from.UID), encoded(from.Spec), images(it)
	if trained {
		record.Training = ptr.To(resolve(from.Spec, from.Status.Runtime.Spec.Defaults).training)
	}
}

// sameWork says that two records name the same artifact of what precedes a stage.
func sameWork(a, b *v1alpha1.IterationStatus, stage v1alpha1.RerunStage) bool {
	work := func(it *v1alpha1.IterationStatus) *v1alpha1.ArtifactReference {
		switch {
		case stage == v1alpha1.RerunEvaluate:
			return it.Adapter
		case stage == v1alpha1.RerunTrain && it.Pairs != nil:
			return it.Pairs.Artifact
		case it.Samples != nil:
			return it.Samples.Scores
		default:
			return nil
		}
	}
	return work(a) != nil && equality.Semantic.DeepEqual(work(a), work(b))
}

// results by name, as status has them.
func results(it *v1alpha1.IterationStatus, headline v1alpha1.Fraction) map[string]string {
	values := map[string]string{"gpuSeconds": fmt.Sprint(it.GPUSeconds)}
	if p := it.Pairs; p != nil {
		values["pairs"], values["usablePrompts"] = fmt.Sprint(*p.Pairs), fmt.Sprint(*p.UsablePrompts)
	}
	for _, m := range it.Training {
		values["training/"+m.Name] = m.Value
	}
	if it.Evaluation != nil {
		values["accuracy"], values["headlineThreshold"] = string(accuracyAt(it.Evaluation, headline)), string(headline)
		for _, g := range it.Evaluation.Guards {
			values["guard/"+g.Name] = g.Value
		}
	}
	if c := it.Comparison; c != nil {
		maps.Copy(values, map[string]string{
			"delta": string(c.Delta), "lowerBound": string(c.LowerBound), "upperBound": string(c.UpperBound), "confidence": string(c.Confidence),
		})
		if d := c.Devices; d != nil {
			values["devices/best"], values["devices/candidate"] = listed(d.Best), listed(d.Candidate)
		}
	}
	if it.Reevaluation != nil {
		values["reevaluation/device"] = string(it.Reevaluation.Device)
	}
	return values
}

// imagesOf are the images of an iteration; those of the baseline, which has no lineage of its own, stand under Baseline/ in iteration 1's.
func (r *runPlan) imagesOf(it *v1alpha1.IterationStatus) map[string]string {
	ran := images(it)
	if baseline := r.record(0); *it.Iteration == 1 && baseline != nil {
		for stage, image := range images(baseline) {
			ran["Baseline/"+stage] = image
		}
	}
	return ran
}

// images that the stages of an iteration ran.
func images(it *v1alpha1.IterationStatus) map[string]string {
	ran := map[string]string{}
	for i := range it.Stages {
		rec := &it.Stages[i]
		if rec.Image != "" {
			ran[string(rec.Name)] = rec.Image
		}
		if rec.TrackImage != "" {
			// Score/Track, EvaluationScore/Track: a stage of the batch that scores.
			ran[string(rec.Name)+"/"+string(v1alpha1.StageTrack)] = rec.TrackImage
		}
	}
	return ran
}

// encoded is JSON of plain data.
func encoded(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage("null") // quantities and strings always encode
	}
	return data
}
