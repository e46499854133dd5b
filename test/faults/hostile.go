//go:build faults

package faults

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// hostility makes up values that look like an API's and are not meant well: at the bounds, beyond them, empty, huge,
// doubled, of the wrong type.
type hostility struct {
	*rand.Rand
}

// strange are strings that some parser stumbles over.
var strange = []string{
	"", " ", ".", "..", "../../etc/passwd", "/", "//", "a//b", "%2e%2e", "-", "-0", "0", "00", "1", "0.0000001", "1e309", "-1", "NaN", "Inf", "0x10",
	"9223372036854775808", "99999999999999999999", "null", "true", "{}", "[]", "\x7f", "\u202e", "\u0000", "ä", "日本語", "a\nb", "'; --",
	"2026-13-45T99:99:99Z", "sha256:", "sha256:zz", "${HOME}", "$(reboot)", "{{.}}", strings.Repeat("a", 64), strings.Repeat("9", 300), strings.Repeat("x/", 400),
}

// fitting are strings that patterns of the API ask for.
var fitting = []string{
	"0.7", "0", "1", "0.000001", "0.999999", "5", "-0.5", "a", "run", "my/key.jsonl", "my/key.csv", "runs/x/0001/train/adapter", "prompts.jsonl",
	"sha256:" + strings.Repeat("0", 64), "2026-01-01T00:00:00Z", "nvidia.com/gpu", "default", "100m", "registry.example/image:1", "https://example.test",
}

// value makes up a value of a schema; one in ten does not fit it.
func (h hostility) value(s *apiextensionsv1.JSONSchemaProps, depth int) any {
	if h.IntN(10) == 0 {
		return h.scalar()
	}
	switch {
	case len(s.Enum) > 0:
		return strings.Trim(string(s.Enum[h.IntN(len(s.Enum))].Raw), `"`)
	case s.Type == "object" && s.AdditionalProperties != nil:
		return map[string]any{strange[h.IntN(len(strange))]: h.scalar(), "a": "b"}
	case s.Type == "object":
		return h.object(s, depth)
	case s.Type == "array":
		list := []any{}
		for range []int{0, 1, 1, 2, 3, 50}[h.IntN(6)] {
			if s.Items != nil && s.Items.Schema != nil {
				list = append(list, h.value(s.Items.Schema, depth+1))
			}
		}
		return list
	case s.Type == "integer" || s.Type == "number":
		return h.integer(s)
	case s.Type == "boolean":
		return h.IntN(2) == 0
	default:
		return h.text(s)
	}
}

func (h hostility) object(s *apiextensionsv1.JSONSchemaProps, depth int) any {
	o := map[string]any{}
	for name, property := range s.Properties {
		required := slices.Contains(s.Required, name)
		if required && h.IntN(40) > 0 || !required && h.IntN(2+depth) == 0 {
			o[name] = h.value(&property, depth+1)
		}
	}
	return o
}

func (h hostility) integer(s *apiextensionsv1.JSONSchemaProps) any {
	candidates := []int64{0, 1, 2, -1, 100, 1<<31 - 1, 1 << 31, 1<<53 + 1, 1<<63 - 1, -1 << 63}
	if s.Minimum != nil {
		candidates = append(candidates, int64(*s.Minimum), int64(*s.Minimum), int64(*s.Minimum)+1, int64(*s.Minimum)-1)
	}
	if s.Maximum != nil {
		candidates = append(candidates, int64(*s.Maximum), int64(*s.Maximum), int64(*s.Maximum)-1, int64(*s.Maximum)+1)
	}
	return candidates[h.IntN(len(candidates))]
}

func (h hostility) text(s *apiextensionsv1.JSONSchemaProps) any {
	pattern, err := regexp.Compile(s.Pattern)
	if err != nil {
		return h.scalar()
	}
	for range 40 {
		list := fitting
		if h.IntN(2) == 0 {
			list = strange
		}
		text := list[h.IntN(len(list))]
		if pattern.MatchString(text) && (s.MaxLength == nil || int64(len(text)) <= *s.MaxLength) {
			return text
		}
	}
	return h.scalar()
}

func (h hostility) scalar() any {
	switch h.IntN(8) {
	case 0:
		return nil
	case 1:
		return int64(h.Uint64())
	case 2:
		return []any{}
	case 3:
		return map[string]any{}
	case 4:
		return h.IntN(2) == 0
	default:
		return strange[h.IntN(len(strange))]
	}
}

// spoil changes a few things somewhere in a value, by its schema where it has one.
func (h hostility) spoil(v map[string]any, s *apiextensionsv1.JSONSchemaProps) {
	for range 1 + h.IntN(3) {
		h.descend(v, s)
	}
}

// descend walks down at random and changes what it comes to.
func (h hostility) descend(v map[string]any, s *apiextensionsv1.JSONSchemaProps) {
	names := make([]string, 0, len(v)+4)
	for name := range v {
		names = append(names, name)
	}
	for name := range s.Properties {
		if _, ok := v[name]; !ok {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		v[fmt.Sprint("odd", h.IntN(9))] = h.scalar()
		return
	}
	slices.Sort(names)
	name := names[h.IntN(len(names))]
	schema := s.Properties[name]
	switch child := v[name].(type) {
	case map[string]any:
		if h.IntN(4) > 0 {
			h.descend(child, &schema)
			return
		}
	case []any:
		if len(child) > 0 && h.IntN(4) > 0 {
			v[name] = h.list(child, &schema)
			return
		}
	}
	if h.IntN(4) == 0 {
		delete(v, name)
		return
	}
	v[name] = h.value(&schema, 1)
}

// list changes an element of a list, drops one, or doubles one.
func (h hostility) list(v []any, s *apiextensionsv1.JSONSchemaProps) []any {
	i := h.IntN(len(v))
	element, ok := v[i].(map[string]any)
	switch n := h.IntN(6); {
	case n == 0:
		return slices.Delete(v, i, i+1)
	case n == 1:
		return append(v, v[i])
	case ok && s.Items != nil && s.Items.Schema != nil:
		h.descend(element, s.Items.Schema)
	default:
		v[i] = h.scalar()
	}
	return v
}
