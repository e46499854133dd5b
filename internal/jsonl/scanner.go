package jsonl

import (
	"fmt"
	"strconv"
)

// Scanner decodes one JSON object of a known shape. Its methods follow the text; after the first
// error they return zero values, and End gives that error. The zero Scanner is ready for Reset.
type Scanner struct {
	data    []byte
	pos     int
	field   string // the field whose value is read, for messages
	scratch []byte // holds strings that had escapes
	err     error
}

// Shape of an object: the names of its fields, the first Required of which must be present.
type Shape struct {
	Names    []string
	Required int
}

// Object is the state of reading an object.
type Object struct {
	shape *Shape
	// Field is the position in Shape.Names of the field that Next stopped at.
	Field int
	seen  uint64
	open  bool
}

// Array is the state of reading an array.
type Array struct {
	// Len is how many elements were met.
	Len int
}

// Reset starts on another text, which must not change until its End.
func (s *Scanner) Reset(text []byte) {
	s.data, s.pos, s.field, s.err = text, 0, "", nil
}

// End wants nothing but white space to follow and returns the first error, with its column (in
// bytes, from 1).
func (s *Scanner) End() error {
	s.space()
	if s.err == nil && s.pos < len(s.data) {
		s.fail("unexpected %s after the object", s.here())
	}
	return s.err
}

// Fail records an error about the field just read; after the end of an object, about the object.
func (s *Scanner) Fail(format string, args ...any) {
	if s.err == nil {
		prefix := ""
		if s.field != "" {
			prefix = s.field + ": "
		}
		s.fail("%s%s", prefix, fmt.Sprintf(format, args...))
	}
}

func (s *Scanner) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("column %d: %s", s.pos+1, fmt.Sprintf(format, args...))
	}
}

// here describes the next byte.
func (s *Scanner) here() string {
	if s.pos >= len(s.data) {
		return "end of line"
	}
	return strconv.QuoteRune(rune(s.data[s.pos]))
}

// Begin an object.
func (shape *Shape) Begin() Object { return Object{shape: shape} }

// Next goes on to the next field of the object, whose value must then be read. It returns false
// at the end of the object and after an error. It refuses fields that the shape lacks and fields given twice.
func (s *Scanner) Next(o *Object) bool {
	if s.err != nil {
		return false
	}
	switch c := s.peek(); {
	case !o.open && c == '{':
		o.open = true
		o.Field = -1
		s.pos++
		if s.peek() == '}' {
			return s.close(o)
		}
	case !o.open:
		s.Fail("want an object, found %s", s.here())
		return false
	case c == ',':
		s.pos++
	case c == '}':
		return s.close(o)
	default:
		s.fail("want , or } after a field, found %s", s.here())
		return false
	}
	if c := s.peek(); c != '"' {
		s.fail("want a field name in double quotes, found %s", s.here())
		return false
	}
	field := o.Field + 1
	if field >= len(o.shape.Names) || !s.skipName(o.shape.Names[field]) {
		field = s.name(o.shape)
	}
	if s.err == nil && o.seen&(1<<field) != 0 {
		s.fail("field %q is given twice", o.shape.Names[field])
	}
	if s.peek() != ':' {
		s.fail("want : after a field name, found %s", s.here())
	}
	if s.err != nil {
		return false
	}
	s.pos++
	o.Field = field
	o.seen |= 1 << field
	s.field = o.shape.Names[field]
	return true
}

// skipName skips a field name if it is the expected one: mostly fields come in the order of the shape.
func (s *Scanner) skipName(name string) bool {
	end := s.pos + 1 + len(name)
	if end >= len(s.data) || s.data[end] != '"' || string(s.data[s.pos+1:end]) != name {
		return false
	}
	s.pos = end + 1
	return true
}

// name reads a field name and gives its position in the shape.
func (s *Scanner) name(shape *Shape) int {
	start := s.pos
	text := s.text()
	for field, name := range shape.Names {
		if string(text) == name {
			return field
		}
	}
	s.pos = start
	s.fail("unknown field %q", text)
	return 0
}

func (s *Scanner) close(o *Object) bool {
	s.pos++
	for field := range o.shape.Required {
		if o.seen&(1<<field) == 0 {
			s.fail("field %q is missing", o.shape.Names[field])
		}
	}
	s.field = ""
	return false
}

// Element goes on to the next element of the array, which must then be read. It returns false at
// the end of the array and after an error.
func (s *Scanner) Element(a *Array) bool {
	if s.err != nil {
		return false
	}
	switch c := s.peek(); {
	case a.Len == 0 && c == '[':
		s.pos++
		if s.peek() == ']' {
			s.pos++
			return false
		}
	case a.Len == 0:
		s.Fail("want an array, found %s", s.here())
		return false
	case c == ',':
		s.pos++
	case c == ']':
		s.pos++
		return false
	default:
		s.fail("want , or ] after an element, found %s", s.here())
		return false
	}
	a.Len++
	return true
}

// Null reads null, if that is what comes next.
func (s *Scanner) Null() bool {
	if s.err == nil && s.peek() == 'n' && s.pos+4 <= len(s.data) && string(s.data[s.pos:s.pos+4]) == "null" {
		s.pos += 4
		return true
	}
	return false
}

// peek skips white space and gives the next byte; 0, which no JSON text may hold there, at the end.
func (s *Scanner) peek() byte {
	if s.pos < len(s.data) && s.data[s.pos] > ' ' {
		return s.data[s.pos]
	}
	s.space()
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *Scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}
