package prompts

import (
	"testing"

	"github.com/spatialalign/operator/internal/contract"
)

func TestCheckOverlap(t *testing.T) {
	cat := contract.PromptLine{PromptID: "a", Type: "LR", Subject: "cat", Object: "fire hydrant"}
	sameCat := contract.PromptLine{PromptID: "b", Type: "LR", Subject: "Cat", Object: " fire  Hydrant"}
	otherWay := contract.PromptLine{PromptID: "c", Type: "RL", Subject: "cat", Object: "fire hydrant"}
	set := func(name string, lines ...contract.PromptLine) Named { return Named{name, lines} }

	for _, fine := range [][]Named{
		nil,
		{set("train", cat, sameCat)}, // a repetition within one set
		{set("train", cat), set("evaluation", otherWay)},
	} {
		if err := CheckOverlap(fine...); err != nil {
			t.Errorf("%v: %v", fine, err)
		}
	}
	err := CheckOverlap(set("train", otherWay, cat), set("test"), set("evaluation", sameCat))
	want := `the train and evaluation prompts overlap: a in train and b in evaluation are both LR with subject "Cat" and object " fire  Hydrant"`
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
