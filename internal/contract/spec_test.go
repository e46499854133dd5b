package contract_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatialalign/operator/internal/contract"
)

// The digest of a spec is its identity: the bytes behind it are canonical and never change for the same work.
func TestEncodeIsCanonical(t *testing.T) {
	spec := func() *contract.Spec {
		return &contract.Spec{
			ContractVersion: contract.Version, Stage: contract.Score, Output: "runs/u/0000/score",
			Score: &contract.ScoreSpec{
				Prompts: contract.Artifact{Key: "p.jsonl", Digest: "sha256:aa"}, Index: contract.Artifact{Key: "i.jsonl"},
				Tracks: []contract.Artifact{{Key: "t.json", Digest: "sha256:bb"}}, MinUsableFrames: 20, MaxInvalidFraction: "0.9",
			},
		}
	}
	want := `{"contractVersion":"v1","stage":"score","output":"runs/u/0000/score","score":{"prompts":{"key":"p.jsonl","digest":"sha256:aa"},` +
		`"index":{"key":"i.jsonl"},"tracks":[{"key":"t.json","digest":"sha256:bb"}],"minUsableFrames":20,"maxInvalidFraction":"0.9"}}`
	data, digest := spec().Encode()
	if string(data) != want || digest != contract.Digest([]byte(want)) {
		t.Errorf("encodes as %s (%s), want %s", data, digest, want)
	}

	var back contract.Spec
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(spec(), &back); diff != "" {
		t.Errorf("does not come back as it was: %s", diff)
	}
	if _, again := back.Encode(); again != digest {
		t.Errorf("has another digest after a round trip: %s, was %s", again, digest)
	}
}

func TestOutputs(t *testing.T) {
	tests := []struct {
		name string
		spec contract.Spec
		want []string
	}{
		{"prepare of a run", contract.Spec{Stage: contract.Prepare, Prepare: &contract.PrepareSpec{
			Prompts: []contract.PromptSource{{Name: "train"}, {Name: "evaluation"}},
			Sets:    []contract.SampleSet{{Name: "evaluation"}, {Name: "train"}},
		}}, []string{"prompts/train", "prompts/evaluation", "index/evaluation", "index/train"}},
		{"prepare of an iteration", contract.Spec{Stage: contract.Prepare, Prepare: &contract.PrepareSpec{
			Sets: []contract.SampleSet{{Name: "train"}},
		}}, []string{"index/train"}},
		{"prepare without its block", contract.Spec{Stage: contract.Prepare}, nil},
		{"sample", contract.Spec{Stage: contract.Sample}, nil},
		{"track", contract.Spec{Stage: contract.Track}, nil},
		{"score", contract.Spec{Stage: contract.Score}, []string{"scores"}},
		{"pair", contract.Spec{Stage: contract.Pair}, []string{"pairs"}},
		{"train", contract.Spec{Stage: contract.Train}, []string{"adapter"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.spec.Outputs(); !slices.Equal(got, tt.want) {
				t.Errorf("must name %q, want %q", got, tt.want)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	tests := []struct {
		code  contract.ExitCode
		class string
		final bool
	}{
		{0, "Succeeded", false},
		{1, "Bug", false},
		{2, "Bug", false},
		{64, "BadSpec", true},
		{65, "BadInput", false},
		{66, "Mismatch", true},
		{69, "Storage", false},
		{70, "Bug", false},
		{75, "Interrupted", false},
		{76, "GPUFault", false},
		{77, "OutOfMemory", true},
		{78, "Diverged", true},
		{79, "TooManyInvalid", true},
		{137, "Bug", false},
		{139, "Bug", false},
		{143, "Interrupted", false},
	}
	for _, tt := range tests {
		if got := tt.code.Class(); got != tt.class || tt.code.Final() != tt.final {
			t.Errorf("exit code %d is %s, final %v; want %s, %v", tt.code, got, tt.code.Final(), tt.class, tt.final)
		}
	}
}
