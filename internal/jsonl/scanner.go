package jsonl

import (
	"fmt"
	"math"
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
	name := s.text()
	if s.peek() != ':' {
		s.fail("want : after a field name, found %s", s.here())
	}
	if s.err != nil {
		return false
	}
	s.pos++
	return s.enter(o, name)
}

func (s *Scanner) enter(o *Object, name []byte) bool {
	field := o.Field + 1 // mostly the fields come in the order of the shape
	if field >= len(o.shape.Names) || string(name) != o.shape.Names[field] {
		for field = 0; field < len(o.shape.Names) && string(name) != o.shape.Names[field]; field++ {
		}
	}
	switch {
	case field == len(o.shape.Names):
		s.fail("unknown field %q", name)
	case o.seen&(1<<field) != 0:
		s.fail("field %q is given twice", name)
	default:
		o.Field = field
		o.seen |= 1 << field
		s.field = o.shape.Names[field]
		return true
	}
	return false
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

// Uint reads a whole number from 0 to limit, without point and exponent.
func (s *Scanner) Uint(limit uint64) uint64 {
	if s.err != nil {
		return 0
	}
	s.peek()
	start := s.pos
	value, err := strconv.ParseUint(string(s.number()), 10, 64)
	if err != nil || value > limit {
		s.pos = start
		s.Fail("want a whole number from 0 to %d", limit)
		return 0
	}
	return value
}

// Float reads a number. It is the float64 nearest to the decimal text.
func (s *Scanner) Float() float64 {
	if s.err != nil {
		return 0
	}
	s.peek()
	start := s.pos
	text := s.number()
	if s.err != nil {
		return 0
	}
	if value, ok := exactDecimal(text); ok {
		return value
	}
	value, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.IsInf(value, 0) {
		s.pos = start
		s.Fail("%s is too large", text)
	}
	return value
}

// powers of ten that a float64 holds exactly.
var powers = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// exactDecimal converts a decimal without exponent whose digits make a whole number of at most 15
// digits: then that number and the power of ten are exact, and their quotient is rounded once.
func exactDecimal(text []byte) (value float64, ok bool) {
	if len(text) > 15 {
		return 0, false
	}
	negative := text[0] == '-'
	if negative {
		text = text[1:]
	}
	mantissa, decimals := uint64(0), 0
	for k, c := range text {
		switch {
		case c == '.':
			decimals = len(text) - 1 - k
		case c >= '0' && c <= '9':
			mantissa = mantissa*10 + uint64(c-'0')
		default:
			return 0, false
		}
	}
	value = float64(mantissa)
	if decimals > 0 {
		value /= powers[decimals]
	}
	if negative {
		value = -value
	}
	return value, true
}

// number reads the text of a JSON number: -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func (s *Scanner) number() []byte {
	data, start := s.data, s.pos
	pos := start
	if pos < len(data) && data[pos] == '-' {
		pos++
	}
	whole := pos
	pos = skipDigits(data, pos)
	ok := pos > whole && (data[whole] != '0' || pos == whole+1)
	if ok && pos < len(data) && data[pos] == '.' {
		point := pos + 1
		pos = skipDigits(data, point)
		ok = pos > point
	}
	if ok && pos < len(data) && (data[pos]|0x20) == 'e' {
		pos++
		if pos < len(data) && (data[pos] == '+' || data[pos] == '-') {
			pos++
		}
		exponent := pos
		pos = skipDigits(data, pos)
		ok = pos > exponent
	}
	if !ok {
		s.Fail("want a number, found %s", s.here())
		return nil
	}
	s.pos = pos
	return data[start:pos]
}

func skipDigits(data []byte, pos int) int {
	for pos < len(data) && data[pos]-'0' <= 9 {
		pos++
	}
	return pos
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
