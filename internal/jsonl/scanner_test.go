package jsonl

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
)

// item is the object that these tests read.
type item struct {
	Name  string    `json:"name"`
	Count uint64    `json:"count"`
	Tags  []string  `json:"tags"`
	Sizes []float64 `json:"sizes"`
	Inner *item     `json:"inner"`
}

var itemShape = Shape{Names: []string{"name", "count", "tags", "sizes", "inner"}, Required: 1}

func readItem(s *Scanner) *item {
	var it item
	for o := itemShape.Begin(); s.Next(&o); {
		switch o.Field {
		case 0:
			it.Name = s.String(100)
		case 1:
			it.Count = s.Uint(math.MaxUint64)
		case 2:
			for a := (Array{}); s.Element(&a); {
				it.Tags = append(it.Tags, s.String(100))
			}
		case 3:
			if s.Null() {
				break
			}
			for a := (Array{}); s.Element(&a); {
				it.Sizes = append(it.Sizes, s.Float())
			}
		case 4:
			it.Inner = readItem(s)
		}
	}
	return &it
}

func parseItem(text string) (*item, error) {
	var s Scanner
	s.Reset([]byte(text))
	it := readItem(&s)
	return it, s.End()
}

func TestScannerReads(t *testing.T) {
	for text, want := range map[string]item{
		`{"name":"a"}`: {Name: "a"},
		"\t{ \"name\" : \"a\" , \"count\" : 7 }\r\n":       {Name: "a", Count: 7},
		`{"count":18446744073709551615,"name":""}`:         {Count: math.MaxUint64},
		`{"inner":{"name":"b","tags":[]},"name":"a"}`:      {Name: "a", Inner: &item{Name: "b"}},
		`{"name":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é😀"}`:  {Name: "\"\\/\b\f\n\r\té😀é😀"},
		`{"n\u0061me":"a","tags":["x","y"]}`:               {Name: "a", Tags: []string{"x", "y"}},
		`{"name":"a","sizes":null}`:                        {Name: "a"},
		`{"name":"a","sizes":[0,-0.5,1e3,1.25E-2,5e-324]}`: {Name: "a", Sizes: []float64{0, -0.5, 1000, 0.0125, 5e-324}},
		`{"name":"a","sizes":[405.12345886230469,123456789012345678901234567890]}`: {
			Name: "a", Sizes: []float64{405.12345886230469, 123456789012345678901234567890},
		},
	} {
		got, err := parseItem(text)
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: %+v, %v; want %+v", text, *got, err, want)
		}
	}
}

func TestScannerRefuses(t *testing.T) {
	for text, message := range map[string]string{
		``:                                "column 1: want an object, found end of line",
		`[]`:                              "column 1: want an object",
		`null`:                            "column 1: want an object",
		`{}`:                              `field "name" is missing`,
		`{"name":"a"`:                     "want , or } after a field, found end of line",
		`{"name":"a"}}`:                   "unexpected '}' after the object",
		`{"name":"a",}`:                   "want a field name in double quotes, found '}'",
		`{name:"a"}`:                      "want a field name in double quotes, found 'n'",
		`{"name" "a"}`:                    "want : after a field name",
		`{"name":"a" "count":1}`:          "want , or } after a field",
		`{"name":"a","name":"b"}`:         `field "name" is given twice`,
		`{"name":"a","count":1,"name":1}`: `field "name" is given twice`,
		`{"Name":"a"}`:                    `unknown field "Name"`,
		`{"name":"a","size":1}`:           `unknown field "size"`,
		`{"name":null}`:                   "name: want a string, found 'n'",
		`{"name":"a}`:                     "a string does not end",
		`{"name":"a\`:                     "starts no valid escape",
		`{"name":"\x"}`:                   "starts no valid escape",
		`{"name":"\u12"}`:                 "starts no valid escape",
		`{"name":"\ud83d"}`:               "starts no valid escape",
		`{"name":"\ude00\ud83d"}`:         "starts no valid escape",
		`{"name":"\ud83dx"}`:              "starts no valid escape",
		"{\"name\":\"a\tb\"}":             `control character '\t' in a string`,
		"{\"name\":\"\\n\x00\"}":          `control character '\x00' in a string`,
		"{\"name\":\"\xff\"}":             "name: the text is not valid UTF-8",
		`{"name":"` + strings.Repeat("x", 101) + `"}`: "name: the text is longer than 100 bytes",
		`{"name":"a","count":-1}`:                     "column 21: count: want a whole number from 0 to 18446744073709551615",
		`{"name":"a","count":-0}`:                     "count: want a whole number",
		`{"name":"a","count":1.0}`:                    "count: want a whole number",
		`{"name":"a","count":1e2}`:                    "count: want a whole number",
		`{"name":"a","count":18446744073709551616}`:   "count: want a whole number",
		`{"name":"a","count":"1"}`:                    "count: want a number",
		`{"name":"a","sizes":[1,]}`:                   "sizes: want a number, found ']'",
		`{"name":"a","sizes":[1 2]}`:                  "want , or ] after an element",
		`{"name":"a","sizes":{}}`:                     "sizes: want an array, found '{'",
		`{"name":"a","sizes":[NaN]}`:                  "sizes: want a number, found 'N'",
		`{"name":"a","sizes":[-Infinity]}`:            "sizes: want a number",
		`{"name":"a","sizes":[null]}`:                 "sizes: want a number, found 'n'",
		`{"name":"a","sizes":[01]}`:                   "sizes: want a number",
		`{"name":"a","sizes":[.5]}`:                   "sizes: want a number",
		`{"name":"a","sizes":[5.]}`:                   "sizes: want a number",
		`{"name":"a","sizes":[5.e1]}`:                 "sizes: want a number",
		`{"name":"a","sizes":[1e]}`:                   "sizes: want a number",
		`{"name":"a","sizes":[+1]}`:                   "sizes: want a number",
		`{"name":"a","sizes":[--1]}`:                  "sizes: want a number",
		`{"name":"a","sizes":[1e999]}`:                "sizes: 1e999 is too large",
		`{"name":"a","sizes":[nul]}`:                  "sizes: want a number",
		`{"name":"a","tags":["a"`:                     "want , or ] after an element, found end of line",
	} {
		if it, err := parseItem(text); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: %+v, error %v, want %q", text, it, err, message)
		}
	}
}

func TestScannerAcceptsAtMostItsFirstError(t *testing.T) {
	var s Scanner
	s.Reset([]byte(`{"name":1}`))
	readItem(&s)
	s.Fail("a later error")
	if s.String(9) != "" || s.Uint(9) != 0 || s.Float() != 0 || s.Null() || s.Element(&Array{}) {
		t.Error("a value was read after an error")
	}
	if err := s.End(); err == nil || strings.Contains(err.Error(), "later") {
		t.Errorf("error %v", err)
	}
}

// What the scanner accepts, encoding/json reads alike; what encoding/json writes, the scanner accepts.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		`{"name":"a","count":1,"tags":["x"],"sizes":[1.5,-2e3],"inner":{"name":"\ud83d\ude00"}}`,
		`{"name":"\u00e9","sizes":[0.1,123456789012345.6,1234567890123456]}`, `{"name":"a","sizes":[1e-400,4.9e-324]}`,
		`{"name":"a"} x`, `{"NAME":"a"}`, `{"name":"a","name":"b"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseItem(text)
		var want item
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.DisallowUnknownFields()
		wantErr := decoder.Decode(&want)
		if err == nil {
			if wantErr != nil {
				t.Fatalf("accepts %q, encoding/json says %v", text, wantErr)
			}
			if !bytes.Equal(canonical(t, got), canonical(t, &want)) {
				t.Fatalf("reads %q as %+v, encoding/json as %+v", text, got, want)
			}
		}
		if wantErr == nil && bounded(&want) {
			written := canonical(t, &want)
			if again, err := parseItem(string(written)); err != nil || !bytes.Equal(canonical(t, again), written) {
				t.Fatalf("refuses or changes %s: %v", written, err)
			}
		}
	})
}

// bounded tells whether all texts are within the bounds of readItem.
func bounded(it *item) bool {
	for _, text := range append(it.Tags, it.Name) {
		if len(text) > 100 {
			return false
		}
	}
	return it.Inner == nil || bounded(it.Inner)
}

// canonical writes an item the way the scanner reads it: without null.
func canonical(t *testing.T, it *item) []byte {
	t.Helper()
	type plain struct {
		Name  string    `json:"name"`
		Count uint64    `json:"count"`
		Tags  []string  `json:"tags,omitempty"`
		Sizes []float64 `json:"sizes"`
		Inner any       `json:"inner,omitempty"`
	}
	p := plain{Name: it.Name, Count: it.Count, Tags: it.Tags, Sizes: it.Sizes}
	if it.Inner != nil {
		p.Inner = json.RawMessage(canonical(t, it.Inner))
	}
	if len(p.Sizes) == 0 {
		p.Sizes = nil
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
