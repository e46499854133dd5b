package dsr

import (
	"fmt"
	"strings"
)

// Relation says where the subject is, seen from the object.
type Relation byte

// The relations that have a formula.
const (
	Left  Relation = 'L' // the subject is left of the object
	Right Relation = 'R' // the subject is right of the object
	Top   Relation = 'T' // the subject is on top of the object
)

// ParseRelation reads one of the letters L, R and T.
func ParseRelation(s string) (Relation, error) {
	switch s {
	case "L", "R", "T":
		return Relation(s[0]), nil
	case "U", "B", "F":
		return 0, fmt.Errorf("relation %s (%s) has no usable formula: use L (left of), R (right of) or T (on top of)", s, unsupported[s])
	default:
		return 0, fmt.Errorf("unknown relation %q: use L (left of), R (right of) or T (on top of)", s)
	}
}

// unsupported relations appear in the published code, which cannot score them.
var unsupported = map[string]string{"U": "under", "B": "behind", "F": "in front of"}

// String gives the letter.
func (r Relation) String() string { return string(rune(r)) }

// Type is a DSR type: the relation at the start of the video and the different one at its end.
type Type struct {
	Initial, Final Relation
}

// Types lists the six types in their published order: LR LT RL RT TL TR.
func Types() []Type {
	return []Type{{Left, Right}, {Left, Top}, {Right, Left}, {Right, Top}, {Top, Left}, {Top, Right}}
}

// ParseType reads two different relation letters, such as LR.
func ParseType(s string) (Type, error) {
	if len(s) != 2 {
		return Type{}, fmt.Errorf("unknown type %q: use one of %s", s, typeNames())
	}
	initial, err := ParseRelation(s[:1])
	if err != nil {
		return Type{}, fmt.Errorf("type %q: initial %w", s, err)
	}
	final, err := ParseRelation(s[1:])
	if err != nil {
		return Type{}, fmt.Errorf("type %q: final %w", s, err)
	}
	if initial == final {
		return Type{}, fmt.Errorf("type %q does not change the relation: use one of %s", s, typeNames())
	}
	return Type{initial, final}, nil
}

// String gives the two letters.
func (t Type) String() string { return t.Initial.String() + t.Final.String() }

func typeNames() string {
	var names []string
	for _, t := range Types() {
		names = append(names, t.String())
	}
	return strings.Join(names, " ")
}
