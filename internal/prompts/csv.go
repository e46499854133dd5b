package prompts

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/dsr"
)

// The columns of the published files, which may stand in any order and among others.
const (
	columnType    = "type"
	columnID      = "prompt_id"
	columnSubject = "animal"
	columnObject  = "object"
	columnScene   = "scene"
	columnInitial = "initial_SR"
	columnFinal   = "final_SR"
	columnPrompt  = "prompt"
)

var columns = []string{columnType, columnID, columnSubject, columnObject, columnScene, columnInitial, columnFinal, columnPrompt}

// columnOf a field of contract.PromptLine.
var columnOf = map[string]string{
	"promptID": columnID, "type": columnType, "subject": columnSubject, "object": columnObject,
	"scene": columnScene, "prompt": columnPrompt,
}

func readCSV(r io.Reader, name string) ([]contract.PromptLine, error) {
	table := csvTable{reader: csv.NewReader(r), name: name}
	table.reader.ReuseRecord = true
	if err := table.header(); err != nil {
		return nil, err
	}
	var lines []contract.PromptLine
	var check checker
	for {
		record, err := table.reader.Read()
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return nil, table.syntax(err)
		}
		p, err := table.prompt(record)
		if err != nil {
			return nil, err
		}
		number, _ := table.reader.FieldPos(0)
		if err := check.check(&p, number); err != nil {
			var field *fieldError
			if errors.As(err, &field) {
				return nil, table.at(columnOf[field.field], field.err)
			}
			return nil, fmt.Errorf("%s:%d: %w", name, number, err)
		}
		lines = append(lines, p)
	}
}

type csvTable struct {
	reader   *csv.Reader
	name     string
	position map[string]int // by column name
}

// header finds the columns by name.
func (t *csvTable) header() error {
	record, err := t.reader.Read()
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s:1: the file is empty: the first line must name the columns %s", t.name, strings.Join(columns, ", "))
	}
	if err != nil {
		return t.syntax(err)
	}
	t.position = map[string]int{}
	for k, title := range record {
		title = strings.TrimSpace(title)
		if _, twice := t.position[title]; twice && slices.Contains(columns, title) {
			return fmt.Errorf("%s:1: column %q is there twice", t.name, title)
		}
		t.position[title] = k
	}
	for _, column := range columns {
		if _, ok := t.position[column]; !ok {
			return fmt.Errorf("%s:1: column %q is missing: the first line must name the columns %s", t.name, column, strings.Join(columns, ", "))
		}
	}
	return nil
}

func (t *csvTable) prompt(record []string) (contract.PromptLine, error) {
	value := func(column string) string { return strings.TrimSpace(record[t.position[column]]) }
	p := contract.PromptLine{
		PromptID: value(columnID), Type: value(columnType), Subject: value(columnSubject),
		Object: value(columnObject), Scene: value(columnScene), Prompt: value(columnPrompt),
	}
	kind, err := dsr.ParseType(p.Type)
	if err != nil {
		return p, t.at(columnType, err)
	}
	for _, side := range []struct {
		column string
		want   dsr.Relation
	}{{columnInitial, kind.Initial}, {columnFinal, kind.Final}} {
		relation, err := relationIn(value(side.column))
		if err == nil && relation != side.want {
			err = fmt.Errorf("%q is relation %s, but type %s wants %s", value(side.column), relation, kind, side.want)
		}
		if err != nil {
			return p, t.at(side.column, err)
		}
	}
	return p, nil
}

// at says where in the record just read a column's value stands.
func (t *csvTable) at(column string, err error) error {
	line, position := t.reader.FieldPos(t.position[column])
	return fmt.Errorf("%s:%d:%d: column %q: %w", t.name, line, position, column, err)
}

// syntax says where the text is not CSV.
func (t *csvTable) syntax(err error) error {
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return fmt.Errorf("%s:%d:%d: %w", t.name, parse.Line, parse.Column, parse.Err)
	}
	return err
}

// words that tell a relation in the phrases of initial_SR and final_SR ("on the left of").
var words = map[string]string{
	"left": "L", "right": "R", "top": "T",
	"under": "U", "below": "U", "beneath": "U", "behind": "B", "front": "F",
}

// relationIn finds the one relation that a phrase names; a relation's letter will do as well.
func relationIn(phrase string) (dsr.Relation, error) {
	letter := ""
	for _, word := range strings.Fields(strings.ToLower(phrase)) {
		if found := words[word]; found != "" {
			if letter != "" && letter != found {
				return 0, fmt.Errorf("%q names more than one relation", phrase)
			}
			letter = found
		}
	}
	if letter == "" {
		letter = phrase
	}
	return dsr.ParseRelation(letter)
}
