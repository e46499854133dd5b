package model

import (
	"fmt"
	"slices"
	"strings"
)

// Relations that the model knows: left of, right of, on top of.
const Relations = "LRT"

const slots = 4

// Vocabulary is what the model can be asked for: its text encoder has one input per word.
type Vocabulary struct {
	Subjects, Objects []string
}

// Text is a prompt as the model reads it: positions of the four words that are 1 in the input.
type Text [slots]int

// Words is the number of one-hot positions.
func (v *Vocabulary) Words() int { return len(v.Subjects) + len(v.Objects) + 2*len(Relations) }

// Encode a prompt; relations is two letters, as LR: initial and final. The error names the unknown word.
func (v *Vocabulary) Encode(subject, object, relations string) (Text, error) {
	s := slices.Index(v.Subjects, subject)
	if s < 0 {
		return Text{}, fmt.Errorf("subject %q is not one of %s", subject, strings.Join(v.Subjects, " "))
	}
	o := slices.Index(v.Objects, object)
	if o < 0 {
		return Text{}, fmt.Errorf("object %q is not one of %s", object, strings.Join(v.Objects, " "))
	}
	if len(relations) != 2 || relations[0] == relations[1] ||
		!strings.Contains(Relations, relations[:1]) || !strings.Contains(Relations, relations[1:]) {
		return Text{}, fmt.Errorf("relations %q are not one of LR LT RL RT TL TR", relations)
	}
	o += len(v.Subjects)
	first := len(v.Subjects) + len(v.Objects)
	return Text{s, o, first + strings.IndexByte(Relations, relations[0]),
		first + len(Relations) + strings.IndexByte(Relations, relations[1])}, nil
}
