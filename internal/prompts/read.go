package prompts

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jsonl"
)

// maxFile bounds a prompt file, in bytes.
const maxFile = 16 << 20

// ReadFile reads and checks a prompt set: see Read.
func ReadFile(path string) ([]contract.PromptLine, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Read(f, path)
}

// Read reads and checks a prompt set. name stands for the file in errors and tells the format by its
// ending, .csv or .jsonl; with another ending the text does: JSONL begins with a brace. A byte order
// mark is skipped. An empty set is an error.
func Read(r io.Reader, name string) ([]contract.PromptLine, error) {
	b := bufio.NewReader(&limited{r: r, name: name, left: maxFile})
	if mark, _ := b.Peek(3); string(mark) == "\ufeff" {
		_, _ = b.Discard(len(mark)) // they were peeked
	}
	read := readCSV
	switch strings.ToLower(filepath.Ext(name)) {
	case ".csv":
	case ".jsonl":
		read = readJSONL
	default:
		if start, _ := b.Peek(b.Size()); bytes.HasPrefix(bytes.TrimSpace(start), []byte("{")) {
			read = readJSONL
		}
	}
	lines, err := read(b, name)
	if err == nil && len(lines) == 0 {
		err = fmt.Errorf("%s: there are no prompts", name)
	}
	if err != nil {
		return nil, err
	}
	return lines, nil
}

// limited refuses to read on beyond a size.
type limited struct {
	r    io.Reader
	name string
	left int
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p[:min(len(p), l.left+1)])
	if l.left -= n; l.left < 0 {
		return 0, fmt.Errorf("%s: the file is larger than %d MiB", l.name, maxFile>>20)
	}
	return n, err
}

var shape = jsonl.Shape{Names: []string{"promptID", "type", "subject", "object", "prompt", "scene"}, Required: 5}

func readJSONL(r io.Reader, name string) ([]contract.PromptLine, error) {
	var lines []contract.PromptLine
	var check checker
	var scanner jsonl.Scanner
	err := jsonl.Lines(r, name, func(number int, text []byte) error {
		scanner.Reset(text)
		p := decode(&scanner)
		if err := scanner.End(); err != nil {
			return err
		}
		lines = append(lines, p)
		return check.check(&p, number)
	})
	return lines, err
}

func decode(s *jsonl.Scanner) (p contract.PromptLine) {
	fields := [...]*string{&p.PromptID, &p.Type, &p.Subject, &p.Object, &p.Prompt, &p.Scene}
	for o := shape.Begin(); s.Next(&o); {
		*fields[o.Field] = strings.TrimSpace(s.String(jsonl.MaxLine))
	}
	return p
}

// Write writes a set as JSONL.
func Write(w io.Writer, lines []contract.PromptLine) error {
	encoder := jsonl.NewEncoder[contract.PromptLine](w)
	var errs []error
	for k := range lines {
		errs = append(errs, encoder.Write(&lines[k]))
	}
	return errors.Join(errs...)
}
