package jsonl

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// String reads a string of at most limit bytes. It must be valid UTF-8.
func (s *Scanner) String(limit int) string { return string(s.Bytes(limit)) }

// Bytes is String without the copy: they are valid until the next call of any method.
func (s *Scanner) Bytes(limit int) []byte {
	if s.err != nil {
		return nil
	}
	if s.peek() != '"' {
		s.Fail("want a string, found %s", s.here())
		return nil
	}
	start := s.pos
	text := s.text()
	if len(text) > limit {
		s.pos = start
		s.Fail("the text is longer than %d bytes", limit)
		return nil
	}
	return text
}

// text reads a string; the opening quote comes next.
func (s *Scanner) text() []byte {
	start := s.pos + 1
	ascii := byte(0)
	for pos := start; pos < len(s.data); pos++ {
		switch c := s.data[pos]; {
		case c == '"':
			s.pos = pos + 1
			return s.checked(s.data[start:pos], ascii < utf8.RuneSelf)
		case c == '\\':
			return s.escaped(start, pos)
		case c < ' ':
			s.pos = pos
			s.Fail("control character %s in a string: escape it", s.here())
			return nil
		default:
			ascii |= c
		}
	}
	s.pos = len(s.data)
	s.fail("a string does not end")
	return nil
}

func (s *Scanner) checked(text []byte, ascii bool) []byte {
	if !ascii && !utf8.Valid(text) {
		s.Fail("the text is not valid UTF-8")
		return nil
	}
	return text
}

// escaped reads a string whose first backslash stands at pos.
func (s *Scanner) escaped(start, pos int) []byte {
	s.scratch = append(s.scratch[:0], s.data[start:pos]...)
	for pos < len(s.data) {
		c := s.data[pos]
		switch {
		case c == '"':
			s.pos = pos + 1
			return s.checked(s.scratch, false)
		case c < ' ':
			s.pos = pos
			s.Fail("control character %s in a string: escape it", s.here())
			return nil
		case c != '\\':
			s.scratch = append(s.scratch, c)
			pos++
		default:
			size := s.unescape(s.data[pos:])
			if size == 0 {
				s.pos = pos
				s.Fail("a backslash in a string starts no valid escape")
				return nil
			}
			pos += size
		}
	}
	s.pos = len(s.data)
	s.fail("a string does not end")
	return nil
}

// unescape appends what the escape at the beginning of text stands for and gives its length, 0 if it
// is none. Half a surrogate pair is none.
func (s *Scanner) unescape(text []byte) int {
	if len(text) < 2 {
		return 0
	}
	switch c := text[1]; c {
	case '"', '\\', '/':
		s.scratch = append(s.scratch, c)
	case 'b':
		s.scratch = append(s.scratch, '\b')
	case 'f':
		s.scratch = append(s.scratch, '\f')
	case 'n':
		s.scratch = append(s.scratch, '\n')
	case 'r':
		s.scratch = append(s.scratch, '\r')
	case 't':
		s.scratch = append(s.scratch, '\t')
	case 'u':
		r, size := hexRune(text), 6
		if utf16.IsSurrogate(r) {
			r, size = utf16.DecodeRune(r, hexRune(text[6:])), 12
		}
		if r < 0 || r == utf8.RuneError && size == 12 {
			return 0
		}
		s.scratch = utf8.AppendRune(s.scratch, r)
		return size
	default:
		return 0
	}
	return 2
}

// hexRune reads \uXXXX; -1 if that is not there.
func hexRune(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	value, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(value)
}
