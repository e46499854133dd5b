package artifact

import (
	"errors"
	"fmt"

	kjson "sigs.k8s.io/json"
)

// maxDepth of nested JSON; the contract's own documents need six.
const maxDepth = 32

// DecodeStrict decodes one JSON document and refuses what a lenient decoder lets through: unknown or
// duplicate keys, keys in another case, trailing data, NaN, nesting deeper than 32.
func DecodeStrict(data []byte, v any) error {
	if err := checkDepth(data); err != nil {
		return err
	}
	strict, err := kjson.UnmarshalStrict(data, v)
	if err != nil {
		return err
	}
	return errors.Join(strict...)
}

// checkDepth counts brackets outside strings.
func checkDepth(data []byte) error {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{', c == '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("offset %d: nested deeper than %d", i, maxDepth)
			}
		case c == '}', c == ']':
			depth--
		}
	}
	return nil
}
