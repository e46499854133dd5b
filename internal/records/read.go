package records

import (
	"fmt"
	"io"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jsonl"
)

// maxID bounds sample and prompt ids, in bytes.
const maxID = 512

// ReadTracks calls fn with each line of a track part. name stands for the file in errors. The line's
// frames are valid until fn returns: their memory is reused.
func ReadTracks(r io.Reader, name string, fn func(*contract.TrackLine) error) error {
	var decoder TrackDecoder
	var line contract.TrackLine
	return jsonl.Lines(r, name, func(_ int, text []byte) error {
		if err := decoder.Decode(text, &line); err != nil {
			return err
		}
		return fn(&line)
	})
}

// ReadScores calls fn with each line of scores.jsonl, which must hold each sample once.
func ReadScores(r io.Reader, name string, fn func(contract.ScoreLine) error) error {
	seen := map[string]bool{}
	return read(r, name, decodeScore, func(line contract.ScoreLine) error {
		if seen[line.SampleID] {
			return fmt.Errorf("sample %s occurs twice", line.SampleID)
		}
		seen[line.SampleID] = true
		return fn(line)
	})
}

// ReadPairs calls fn with each line of pairs.jsonl.
func ReadPairs(r io.Reader, name string, fn func(contract.PairLine) error) error {
	return read(r, name, decodePair, fn)
}

// ReadIndex calls fn with each line of an index, which must be ordered by sample id without repeats.
func ReadIndex(r io.Reader, name string, fn func(contract.IndexLine) error) error {
	previous := ""
	decode := func(s *jsonl.Scanner) contract.IndexLine {
		line := decodeIndex(s)
		if line.SampleID <= previous {
			s.Fail("sample %s must come after sample %s, once and in order", line.SampleID, previous)
		}
		previous = line.SampleID
		return line
	}
	return read(r, name, decode, fn)
}

func read[T any](r io.Reader, name string, decode func(*jsonl.Scanner) T, fn func(T) error) error {
	var scanner jsonl.Scanner
	return jsonl.Lines(r, name, func(_ int, text []byte) error {
		scanner.Reset(text)
		line := decode(&scanner)
		if err := scanner.End(); err != nil {
			return err
		}
		return fn(line)
	})
}

// id reads a sample or prompt id.
func id(s *jsonl.Scanner) string {
	text := s.String(maxID)
	if text == "" {
		s.Fail("must not be empty")
	}
	return text
}
