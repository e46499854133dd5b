package jsonl

import (
	"math"
	"strconv"
)

// Uint reads a whole number from 0 to limit, without point and exponent.
func (s *Scanner) Uint(limit uint64) uint64 {
	if s.err != nil {
		return 0
	}
	s.peek()
	start := s.pos
	short, ok := s.short()
	value := short.digits
	if ok {
		ok = !short.negative && !short.point
	} else {
		var err error
		value, err = strconv.ParseUint(string(s.number()), 10, 64)
		ok = err == nil
	}
	if !ok || value > limit {
		s.pos = start
		s.Fail("want a whole number from 0 to %d", limit)
		return 0
	}
	return value
}

// Float reads a number: the float64 nearest to the decimal text. One that is too large is an error.
func (s *Scanner) Float() float64 {
	if s.err != nil {
		return 0
	}
	s.peek()
	if short, ok := s.short(); ok {
		return short.float()
	}
	start := s.pos
	text := s.number()
	if s.err != nil {
		return 0
	}
	value, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.IsInf(value, 0) {
		s.pos = start
		s.Fail("%s is too large", text)
		return 0
	}
	return value
}

// Floats reads an array of numbers into a slice and gives their count; those beyond the slice are
// read and dropped.
func (s *Scanner) Floats(into []float64) int {
	if s.err != nil {
		return 0
	}
	if s.peek() == '[' && s.shortFloats(into) {
		return len(into)
	}
	a := Array{}
	for s.Element(&a) {
		if value := s.Float(); a.Len <= len(into) {
			into[a.Len-1] = value
		}
	}
	return a.Len
}

// shortFloats reads an array of exactly as many short numbers as the slice holds, with no other white
// space than blanks. If there is none, it moves nothing.
func (s *Scanner) shortFloats(into []float64) bool {
	rest := s.data[s.pos:]
	pos := 0
	for k := range into {
		pos++ // the bracket or the comma
		for pos < len(rest) && rest[pos] == ' ' {
			pos++
		}
		n, size := parseShort(rest[pos:])
		pos += size
		if size == 0 || pos == len(rest) || rest[pos] != ',' && (rest[pos] != ']' || k < len(into)-1) {
			return false
		}
		into[k] = n.float()
	}
	if len(into) == 0 || rest[pos] != ']' {
		return false
	}
	s.pos += pos + 1
	return true
}

// short is a number of at most maxShort digits and without exponent, as nearly all are.
type short struct {
	digits   uint64 // all of them, read as a whole number
	decimals uint8  // how many of them stand after the point
	point    bool
	negative bool
}

// maxShort digits make a whole number that a float64 holds exactly.
const maxShort = 15

// powers of ten that a float64 holds exactly.
var powers = [maxShort + 1]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// float is the nearest float64: digits and power of ten are exact, so their quotient is rounded once.
func (n short) float() float64 {
	value := float64(n.digits)
	if n.decimals > 0 {
		value /= powers[n.decimals]
	}
	if n.negative {
		value = -value
	}
	return value
}

// short reads a short number. If there is none, it moves nothing: see number.
func (s *Scanner) short() (n short, ok bool) {
	n, size := parseShort(s.data[s.pos:])
	s.pos += size
	return n, size > 0
}

// parseShort reads the short number that a text begins with, in one pass, and gives its size; 0 if
// there is none.
func parseShort(text []byte) (n short, size int) {
	pos := 0
	if len(text) > 0 && text[0] == '-' {
		n.negative = true
		pos = 1
	}
	whole := pos
	for pos < len(text) && text[pos]-'0' <= 9 {
		n.digits = n.digits*10 + uint64(text[pos]-'0')
		pos++
	}
	count := pos - whole
	if count == 0 || count > 1 && text[whole] == '0' {
		return n, 0
	}
	if pos < len(text) && text[pos] == '.' {
		point := pos + 1
		for pos = point; pos < len(text) && text[pos]-'0' <= 9; pos++ {
			n.digits = n.digits*10 + uint64(text[pos]-'0')
		}
		if pos == point || pos-point > maxShort {
			return n, 0
		}
		n.point, n.decimals = true, uint8(pos-point)
	}
	if count+int(n.decimals) > maxShort || pos < len(text) && text[pos]|0x20 == 'e' {
		return n, 0
	}
	return n, pos
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
