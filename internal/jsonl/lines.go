package jsonl

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
)

// MaxLine bounds the length of a line, in bytes.
const MaxLine = 4 << 20

// chunkSize is how much is read at once: large enough that handing a chunk over costs nothing, small
// enough that the chunks in flight stay within a few MiB.
const chunkSize = 256 << 10

// byteOrderMark is what some editors put at the beginning of UTF-8.
const byteOrderMark = "\ufeff"

// Chunk is a run of whole lines.
type Chunk struct {
	data []byte
	line int
}

// Lines yields the number (in the file, from 1) and the bytes of each line that is not blank.
func (c Chunk) Lines() iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		number := c.line
		for rest := c.data; len(rest) > 0; number++ {
			line := rest
			if end := bytes.IndexByte(rest, '\n'); end >= 0 {
				line, rest = rest[:end], rest[end+1:]
			} else {
				rest = nil
			}
			if len(bytes.TrimSpace(line)) > 0 && !yield(number, line) {
				return
			}
		}
	}
}

// Lines calls fn with each line of r that is not blank and its number, from 1. The bytes are valid
// until fn returns. A byte order mark at the beginning is skipped. Errors, fn's among them, are prefixed with name and line.
func Lines(r io.Reader, name string, fn func(number int, line []byte) error) error {
	chunks := newChunkReader(r, name)
	var buffer []byte
	for {
		chunk, err := chunks.next(buffer)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for number, line := range chunk.Lines() {
			if err := fn(number, line); err != nil {
				return At(name, number, err)
			}
		}
		buffer = chunk.data
	}
}

// At says in which line of which file an error lies.
func At(name string, line int, err error) error {
	return fmt.Errorf("%s:%d: %w", name, line, err)
}

// chunkReader cuts a stream into chunks at line ends.
type chunkReader struct {
	r    io.Reader
	name string
	line int    // of the first byte not yet handed out
	rest []byte // the beginning of a line, already read
	done bool
}

// newChunkReader reads from the beginning of a file. A byte order mark there is skipped.
func newChunkReader(r io.Reader, name string) *chunkReader {
	b := bufio.NewReaderSize(r, 16) // large reads go past so small a buffer
	if mark, _ := b.Peek(len(byteOrderMark)); string(mark) == byteOrderMark {
		_, _ = b.Discard(len(mark)) // they were peeked; a read error comes again with the first Read
	}
	return &chunkReader{r: b, name: name, line: 1}
}

// next fills the buffer, which it may replace by a larger one. It returns io.EOF after the last chunk.
func (c *chunkReader) next(buffer []byte) (Chunk, error) {
	buffer = append(buffer[:0], c.rest...)
	c.rest = c.rest[:0]
	for !c.done {
		if len(buffer) == cap(buffer) {
			buffer = grow(buffer)
		}
		n, err := c.r.Read(buffer[len(buffer):cap(buffer)])
		fresh := buffer[len(buffer) : len(buffer)+n]
		buffer = buffer[:len(buffer)+n]
		if errors.Is(err, io.EOF) {
			c.done = true
		} else if err != nil {
			return Chunk{}, fmt.Errorf("%s: after line %d: %w", c.name, c.line+bytes.Count(buffer, []byte{'\n'})-1, err)
		}
		if len(buffer) < chunkSize {
			continue
		}
		if end := bytes.LastIndexByte(fresh, '\n'); end >= 0 {
			end += len(buffer) - n + 1
			c.rest = append(c.rest, buffer[end:]...)
			buffer = buffer[:end]
			break
		}
		if len(buffer)-1-bytes.LastIndexByte(buffer, '\n') > MaxLine {
			break
		}
	}
	return c.cut(buffer)
}

func (c *chunkReader) cut(buffer []byte) (Chunk, error) {
	if len(buffer) == 0 {
		return Chunk{}, io.EOF
	}
	chunk := Chunk{data: buffer, line: c.line}
	if len(buffer) > MaxLine {
		for number, line := range chunk.Lines() {
			if len(line) > MaxLine {
				return Chunk{}, At(c.name, number, fmt.Errorf("the line is longer than %d MiB", MaxLine>>20))
			}
		}
	}
	c.line += bytes.Count(buffer, []byte{'\n'})
	return chunk, nil
}

func grow(buffer []byte) []byte {
	larger := make([]byte, len(buffer), max(chunkSize+chunkSize/4, 2*cap(buffer)))
	copy(larger, buffer)
	return larger
}
