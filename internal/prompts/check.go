package prompts

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/dsr"
)

// Bounds of a set. Lengths are in bytes.
const (
	MaxPrompts = 100_000
	maxID      = 128
	maxNoun    = 64
	maxScene   = 512
	maxPrompt  = 2000
)

var idPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// fieldError is an error about one field of a prompt. Fields have other names in CSV and in JSONL.
type fieldError struct {
	field string // as in contract.PromptLine
	err   error
}

func (e *fieldError) Error() string { return e.field + ": " + e.err.Error() }
func (e *fieldError) Unwrap() error { return e.err }

// checker checks the prompts of a set one by one, in order.
type checker struct {
	lines map[string]int // prompt id -> line that has it
}

// check a prompt that stands in a line of its file.
func (c *checker) check(p *contract.PromptLine, line int) error {
	if c.lines == nil {
		c.lines = map[string]int{}
	}
	if len(c.lines) == MaxPrompts {
		return fmt.Errorf("more than %d prompts", MaxPrompts)
	}
	if first, ok := c.lines[p.PromptID]; ok {
		return &fieldError{"promptID", fmt.Errorf("prompt id %s is already in line %d", p.PromptID, first)}
	}
	if err := checkFields(p); err != nil {
		return err
	}
	c.lines[p.PromptID] = line
	return nil
}

func checkFields(p *contract.PromptLine) error {
	if err := checkText(p.PromptID, maxID); err != nil {
		return &fieldError{"promptID", err}
	}
	if !idPattern.MatchString(p.PromptID) {
		return &fieldError{"promptID", fmt.Errorf("%q: use letters, digits, '.', '_' and '-', a letter or digit first", p.PromptID)}
	}
	if _, err := dsr.ParseType(p.Type); err != nil {
		return &fieldError{"type", err}
	}
	if err := checkNoun(p.Subject); err != nil {
		return &fieldError{"subject", err}
	}
	if err := checkNoun(p.Object); err != nil {
		return &fieldError{"object", err}
	}
	if normal(p.Subject) == normal(p.Object) {
		return &fieldError{"object", fmt.Errorf("subject and object are both %q: they must differ", p.Object)}
	}
	if p.Scene != "" {
		if err := checkText(p.Scene, maxScene); err != nil {
			return &fieldError{"scene", err}
		}
	}
	if err := checkText(p.Prompt, maxPrompt); err != nil {
		return &fieldError{"prompt", err}
	}
	return nil
}

// checkNoun also refuses the full stop, which separates subject and object in the detector's text.
func checkNoun(text string) error {
	if strings.Contains(text, ".") {
		return fmt.Errorf("%q must not contain a full stop", text)
	}
	return checkText(text, maxNoun)
}

func checkText(text string, limit int) error {
	switch {
	case strings.TrimSpace(text) == "":
		return errors.New("must not be empty")
	case len(text) > limit:
		return fmt.Errorf("is longer than %d bytes", limit)
	case !utf8.ValidString(text):
		return errors.New("is not valid UTF-8")
	case strings.ContainsFunc(text, unicode.IsControl):
		return errors.New("must not contain control characters")
	default:
		return nil
	}
}

// normal is the form in which nouns are compared: case and extra white space do not count.
func normal(noun string) string {
	return strings.ToLower(strings.Join(strings.Fields(noun), " "))
}
