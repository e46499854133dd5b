package stage_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/stage"
)

var (
	someDigest = contract.Digest([]byte("x"))
	pinned     = contract.Artifact{Key: "in/a.jsonl", Digest: someDigest}
	model      = contract.Model{Name: "synthetic", Digest: someDigest}
	sampling   = contract.Sampling{Model: model, NumericsRevision: "1", Steps: 12}
)

// goodSpecs has one valid spec per stage.
func goodSpecs() map[contract.Stage]*contract.Spec {
	specs := map[contract.Stage]*contract.Spec{
		contract.Prepare: {Prepare: &contract.PrepareSpec{
			Prompts: []contract.PromptSource{{Name: "train", Generate: &contract.Generate{Count: 30, Seed: 1}}},
			Sets:    []contract.SampleSet{{Name: "train", SamplesPerPrompt: 5, Sampling: sampling}},
		}},
		contract.Sample: {Sample: &contract.SampleSpec{Prompts: pinned, Index: pinned, Sampling: sampling}},
		contract.Track:  {Track: &contract.TrackSpec{Prompts: pinned, Index: pinned, Detector: contract.Detector{Name: "d", Digest: someDigest}}},
		contract.Score: {Score: &contract.ScoreSpec{
			Prompts: pinned, Index: pinned, Tracks: []contract.Artifact{pinned}, MinUsableFrames: 20, MaxInvalidFraction: "0.5",
		}},
		contract.Pair: {Pair: &contract.PairSpec{
			Sources: []contract.PairSource{{Iteration: 1, Scores: pinned}}, WinnerThreshold: "0.7", LoserThreshold: "0.7",
		}},
		contract.Train: {Train: &contract.TrainSpec{
			Prompts: pinned, Pairs: pinned, Model: model, NumericsRevision: "1", Iteration: 1,
			Training: contract.Training{
				Steps: 120, ScheduleSteps: 150, WarmupSteps: 12, PairsPerStep: 64, LearningRate: "1e-3", Beta: "1", Lambda: "0.5", MarginClip: "5", LoRARank: 8, LoRAAlpha: 8,
			},
		}},
		contract.Compare: {Compare: &contract.CompareSpec{
			Best: pinned, Candidate: pinned, Threshold: "0.7", Confidence: "0.95", Resamples: 10000, Seed: 1,
		}},
		contract.Lineage: {Lineage: &contract.LineageSpec{Record: contract.LineageRecord{
			ContractVersion: contract.Version, Namespace: "n", Run: "r", UID: "u", Iteration: 1, Spec: json.RawMessage(`{}`), Runtime: json.RawMessage(`{}`),
			Sampling: sampling, Artifacts: map[string]contract.Artifact{"pairs": pinned}, Previous: &pinned,
		}}},
	}
	for name, spec := range specs {
		spec.ContractVersion, spec.Stage, spec.Output = contract.Version, name, "runs/r/1/"+string(name)
	}
	return specs
}

// TestDecodeSpec: one edit of a valid spec makes it invalid, and the error names the field.
func TestDecodeSpec(t *testing.T) {
	for _, c := range []struct {
		stage      contract.Stage
		edit, want string // edit is "before=>after" on the JSON
	}{
		{contract.Train, `"v1"=>"v2"`, `contractVersion is "v2", this program knows v1`},
		{contract.Train, `"v1","stage"=>"v2","new":{},"stage"`, "contractVersion"},
		{contract.Train, `"contractVersion":"v1",=>`, "contractVersion is not set"},
		{contract.Train, `"stage":"train"=>"stage":"pair"`, `stage is "pair"`},
		{contract.Train, `"output":"runs=>"output":"../runs`, "output: artifact key"},
		{contract.Train, `"train":{=>"pair":{"import":null},"train":{`, `exactly the block "train"`},
		{contract.Train, `"seed":0=>"seed":0,"sead":1`, "sead"},
		{contract.Train, `"seed":0=>"seed":0,"seed":1`, "seed"},
		{contract.Train, `"seed":0=>"seed":-1`, "seed"},
		{contract.Train, `"steps":120=>"steps":0`, "train.training: steps 0"},
		{contract.Train, `"scheduleSteps":150=>"scheduleSteps":119`, "train.training.scheduleSteps is 119, want at least the 120 of steps"},
		{contract.Train, `"warmupSteps":12=>"warmupSteps":151`, "train.training.warmupSteps is 151, want 0 to the 150 of scheduleSteps"},
		{contract.Train, `"warmupSteps":12=>"warmupSteps":-1`, "train.training.warmupSteps"},
		{contract.Train, `"lambda":"0.5"=>"lambda":"NaN"`, "train.training.lambda"},
		{contract.Train, `"lambda":"0.5"=>"lambda":"-1"`, "train.training.lambda"},
		{contract.Train, `,"digest":"` + someDigest + `"=>`, "train.prompts.digest is not set"},
		{contract.Train, `"model":{"name":"synthetic"=>"model":{"name":""`, "train.model"},
		{contract.Sample, `"steps":12=>"steps":0`, "sample.sampling.steps"},
		{contract.Sample, `"steps":12=>"steps":12,"frames":-1`, "sample.sampling: frames -1"},
		{contract.Sample, `"steps":12=>"steps":12,"device":" A100"`, "sample.sampling.device"},
		{contract.Sample, `"steps":12=>"steps":12,"guidanceScale":"NaN"`, "sample.sampling.guidanceScale"},
		{contract.Sample, `"steps":12=>"steps":12,"adapter":{"key":"a"}`, "sample.sampling.adapter.digest is not set"},
		{contract.Train, `"seed":0=>"seed":0,"referenceAdapter":{"key":"a"}`, "train.referenceAdapter.digest is not set"},
		{contract.Sample, `in/a.jsonl=>/etc/passwd`, "sample.prompts.key"},
		{contract.Track, `"name":"d"=>"name":""`, "track.detector"},
		{contract.Track, someDigest + `=>sha256:0`, "track.prompts.digest"},
		{contract.Score, `"minUsableFrames":20=>"minUsableFrames":2`, "score.minUsableFrames"},
		{contract.Score, `"maxInvalidFraction":"0.5"=>"maxInvalidFraction":"1.5"`, "score.maxInvalidFraction"},
		{contract.Score, `"tracks":[=>"detector":{"name":"d","digest":"` + someDigest + `","revision":""},"tracks":[`, "score.tracks, detector"},
		{contract.Score, `"tracks":[{"key":"in/a.jsonl","digest":"` + someDigest + `"}]=>"detector":{"name":"d","digest":"","revision":""}`, "score.detector"},
		{contract.Score, `"tracks":[=>"guards":["beauty"],"tracks":[`, `score.guards[0] is "beauty"`},
		{contract.Score, `"tracks":[=>"guards":["clipIQAQuality","clipIQAQuality"],"tracks":[`, `score.guards[1] is "clipIQAQuality"`},
		{contract.Prepare, `"seeds":=>"detector":{"name":"","digest":"","revision":""},"seeds":`, "prepare.sets[0].detector"},
		{contract.Pair, `"winnerThreshold":"0.7"=>"winnerThreshold":""`, "pair.winnerThreshold"},
		{contract.Pair, `"iteration":1=>"iteration":-1`, "pair.sources[0].iteration"},
		{contract.Pair, `"sources":[=>"import":{"key":"p"},"sources":[`, "pair.sources, import"},
		{contract.Pair, `"winnerThreshold"=>"minMargin":"2","winnerThreshold"`, "pair.minMargin"},
		{contract.Pair, `"winnerThreshold"=>"maxPairsPerPrompt":-1,"winnerThreshold"`, "pair.maxPairsPerPrompt"},
		{contract.Pair, `"sources":[=>"extends":{"key":"p"},"sources":[`, "pair.extends.digest is not set"},
		{contract.Compare, `"confidence":"0.95"=>"confidence":"0"`, "compare.confidence"},
		{contract.Compare, `"resamples":10000=>"resamples":1000001`, "compare.resamples"},
		{contract.Compare, `"threshold":"0.7"=>"threshold":"1.1"`, "compare.threshold"},
		{contract.Lineage, `"record":{"contractVersion":"v1"=>"record":{"contractVersion":"v2"`, "lineage.record.contractVersion"},
		{contract.Lineage, `"iteration":1=>"iteration":-1`, "lineage.record: "},
		{contract.Lineage, `"pairs":{"key":"in/a.jsonl"=>"pairs":{"key":"../a"`, "lineage.record.artifacts[pairs].key"},
		{contract.Lineage, `"previous":{"key":"in/a.jsonl","digest":"` + someDigest + `"=>"previous":{"key":"a"`, "lineage.record.previous.digest is not set"},
		{contract.Prepare, `"generate":{=>"file":"/p.csv","generate":{`, "prepare.prompts[0]: exactly one"},
		{contract.Prepare, `"count":30=>"count":0`, "prepare.prompts[0].generate.count"},
		{contract.Prepare, `{"name":"train","generate"=>{"name":"a b","generate"`, "prepare.prompts[0].name"},
		{contract.Prepare, `"sets":[{"name":"train"=>"sets":[{"name":"evaluation"`, "prepare.sets[0].prompts is not set"},
		{contract.Prepare, `"samplesPerPrompt":5=>"samplesPerPrompt":0`, "prepare.sets[0].samplesPerPrompt"},
	} {
		t.Run(string(c.stage)+" "+c.edit, func(t *testing.T) {
			data, _ := goodSpecs()[c.stage].Encode()
			before, after, _ := strings.Cut(c.edit, "=>")
			if !strings.Contains(string(data), before) {
				t.Fatalf("%s is not in %s", before, data)
			}
			_, err := stage.DecodeSpec([]byte(strings.Replace(string(data), before, after, 1)), c.stage)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one about %s", err, c.want)
			}
		})
	}
}

// TestGoodSpecs: what the operator writes is accepted as it is.
func TestGoodSpecs(t *testing.T) {
	for name, spec := range goodSpecs() {
		data, _ := spec.Encode()
		if _, err := stage.DecodeSpec(data, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzDecodeSpec: no bytes make it panic, and what is accepted means the same when written again.
func FuzzDecodeSpec(f *testing.F) {
	for name, spec := range goodSpecs() {
		data, _ := spec.Encode()
		f.Add(string(name), data)
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		spec, err := stage.DecodeSpec(data, contract.Stage(name))
		if err != nil {
			return
		}
		again, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stage.DecodeSpec(again, contract.Stage(name)); err != nil {
			t.Errorf("accepted %q, but not what it says: %v", data, err)
		}
	})
}
