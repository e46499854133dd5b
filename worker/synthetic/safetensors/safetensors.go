// Package safetensors reads and writes float32 tensors in the safetensors format: eight bytes of
// header length (little endian), a JSON header that names each tensor's type, shape and place, and
// the data. Only what the synthetic runtime needs: type F32, everything in memory.
package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
)

// Limits on what Decode accepts.
const (
	maxHeader  = 1 << 20
	maxTensors = 4096
)

// Tensor is a float32 array in row-major order.
type Tensor struct {
	Shape []int
	Data  []float32
}

// File is a set of tensors by name, with free metadata.
type File struct {
	Metadata map[string]string
	Tensors  map[string]Tensor
}

type entry struct {
	DType   string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

const metadataKey = "__metadata__"

// Encode gives the file's bytes; the same content always gives the same bytes (tensors by name, the
// header padded with spaces to eight bytes). A tensor whose data do not fill its shape is an error.
func (f *File) Encode() ([]byte, error) {
	header := make(map[string]any, len(f.Tensors)+1)
	if len(f.Metadata) > 0 {
		header[metadataKey] = f.Metadata
	}
	names := slices.Sorted(maps.Keys(f.Tensors))
	var at int64
	for _, name := range names {
		t := f.Tensors[name]
		if n, ok := elements(t.Shape); !ok || n != int64(len(t.Data)) {
			return nil, fmt.Errorf("safetensors: tensor %q has %d values for shape %v", name, len(t.Data), t.Shape)
		}
		end := at + 4*int64(len(t.Data))
		header[name] = entry{"F32", t.Shape, [2]int64{at, end}}
		at = end
	}
	head, err := json.Marshal(header)
	if err != nil {
		return nil, fmt.Errorf("safetensors: header: %w", err)
	}
	head = append(head, bytes.Repeat([]byte(" "), (8-len(head)%8)%8)...)
	out := make([]byte, 0, 8+int64(len(head))+at)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(head)))
	out = append(out, head...)
	for _, name := range names {
		for _, v := range f.Tensors[name].Data {
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
		}
	}
	return out, nil
}

// Decode reads a file. Truncated, overlapping or oversized content is an error that says what is wrong.
func Decode(data []byte) (*File, error) {
	if len(data) < 8 {
		return nil, fmt.Errorf("safetensors: %d bytes are too short for a header", len(data))
	}
	length := binary.LittleEndian.Uint64(data)
	if length > maxHeader || length > uint64(len(data)-8) {
		return nil, fmt.Errorf("safetensors: a header of %d bytes does not fit", length)
	}
	var header map[string]json.RawMessage
	if err := json.Unmarshal(data[8:8+length], &header); err != nil {
		return nil, fmt.Errorf("safetensors: header: %w", err)
	}
	if len(header) > maxTensors {
		return nil, fmt.Errorf("safetensors: %d tensors are more than %d", len(header), maxTensors)
	}
	file := &File{Metadata: map[string]string{}, Tensors: make(map[string]Tensor, len(header))}
	if raw, ok := header[metadataKey]; ok {
		if err := json.Unmarshal(raw, &file.Metadata); err != nil {
			return nil, fmt.Errorf("safetensors: metadata: %w", err)
		}
		delete(header, metadataKey)
	}
	body := data[8+length:]
	places := make([][2]int64, 0, len(header))
	for name, raw := range header {
		var e entry
		err := json.Unmarshal(raw, &e)
		if err == nil {
			file.Tensors[name], err = e.tensor(body)
		}
		if err != nil {
			return nil, fmt.Errorf("safetensors: tensor %q: %w", name, err)
		}
		places = append(places, e.Offsets)
	}
	slices.SortFunc(places, func(a, b [2]int64) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	var end int64
	for _, p := range places {
		if p[0] != end {
			return nil, fmt.Errorf("safetensors: a tensor starts at byte %d, the one before ends at %d", p[0], end)
		}
		end = p[1]
	}
	if end != int64(len(body)) {
		return nil, fmt.Errorf("safetensors: tensors take %d bytes of %d", end, len(body))
	}
	return file, nil
}

// tensor takes an entry's values out of the body.
func (e *entry) tensor(body []byte) (Tensor, error) {
	if e.DType != "F32" {
		return Tensor{}, fmt.Errorf("type %q is not F32", e.DType)
	}
	from, to := e.Offsets[0], e.Offsets[1]
	n, ok := elements(e.Shape)
	if !ok || from < 0 || to < from || to > int64(len(body)) || to-from != 4*n {
		return Tensor{}, fmt.Errorf("offsets %d to %d do not hold shape %v in %d bytes", from, to, e.Shape, len(body))
	}
	t := Tensor{Shape: e.Shape, Data: make([]float32, n)}
	for i := range t.Data {
		t.Data[i] = math.Float32frombits(binary.LittleEndian.Uint32(body[from+4*int64(i):]))
	}
	return t, nil
}

// elements of a shape; not ok when a side is negative or there are 2^40 or more.
func elements(shape []int) (int64, bool) {
	n := int64(1)
	for _, side := range shape {
		if side < 0 || side > 1<<20 || n > 1<<20 {
			return 0, false
		}
		n *= int64(side)
	}
	return n, true
}
