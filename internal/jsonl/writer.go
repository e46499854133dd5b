package jsonl

import (
	"encoding/json"
	"io"
)

// Encoder writes one line per value. Characters such as < and & stay as they are.
type Encoder[T any] struct {
	encoder *json.Encoder
}

// NewEncoder writes to w, line by line: give it a buffer.
func NewEncoder[T any](w io.Writer) *Encoder[T] {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return &Encoder[T]{encoder}
}

// Write one line.
func (e *Encoder[T]) Write(line *T) error { return e.encoder.Encode(line) }
