package prompts

import (
	"fmt"

	"github.com/spatialalign/operator/internal/contract"
)

// Named is a set with the name it has in errors, such as train or evaluation.
type Named struct {
	Name    string
	Prompts []contract.PromptLine
}

// triple is what makes two prompts the same question, whatever their scene and wording.
type triple struct{ kind, subject, object string }

func tripleOf(p *contract.PromptLine) triple {
	return triple{p.Type, normal(p.Subject), normal(p.Object)}
}

// CheckOverlap refuses sets that share a (type, subject, object): what one set is trained on cannot be
// held out in another. A repetition within one set is allowed.
func CheckOverlap(sets ...Named) error {
	type owner struct {
		set      int
		promptID string
	}
	owners := map[triple]owner{}
	for k, set := range sets {
		for n := range set.Prompts {
			p := &set.Prompts[n]
			first, ok := owners[tripleOf(p)]
			if ok && first.set != k {
				return fmt.Errorf("the %s and %s prompts overlap: %s in %s and %s in %s are both %s with subject %q and object %q",
					sets[first.set].Name, set.Name, first.promptID, sets[first.set].Name, p.PromptID, set.Name,
					p.Type, p.Subject, p.Object)
			}
			if !ok {
				owners[tripleOf(p)] = owner{k, p.PromptID}
			}
		}
	}
	return nil
}
