package safetensors

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestWhatIsEncodedComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := File{Metadata: rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "metadata"), Tensors: map[string]Tensor{}}
		for i := range rapid.IntRange(0, 4).Draw(t, "tensors") {
			rows, cols := rapid.IntRange(0, 5).Draw(t, "rows"), rapid.IntRange(0, 5).Draw(t, "cols")
			data := rapid.SliceOfN(rapid.Float32(), rows*cols, rows*cols).Draw(t, "data")
			f.Tensors["t"+strings.Repeat("x", i)] = Tensor{Shape: []int{rows, cols}, Data: data}
		}
		data, err := f.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range f.Tensors {
			if have := got.Tensors[name]; !slices.Equal(have.Shape, want.Shape) || !slices.Equal(have.Data, want.Data) {
				t.Fatalf("tensor %s is %v, was %v", name, have, want)
			}
		}
		if again, err := got.Encode(); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("encoded again, other bytes: %v", err)
		}
	})
}

// raw makes a file of a header and a body.
func raw(header, body string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header+body...)
}

func TestDamagedFilesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":            {nil, "too short"},
		"no header":        {binary.LittleEndian.AppendUint64(nil, 10), "does not fit"},
		"huge header":      {binary.LittleEndian.AppendUint64(nil, math.MaxUint64), "does not fit"},
		"not JSON":         {raw("{", ""), "header"},
		"another type":     {raw(`{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}`, "1234"), "not F32"},
		"truncated":        {raw(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, "1234"), "offsets"},
		"shape and size":   {raw(`{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}`, "12345678"), "offsets"},
		"negative side":    {raw(`{"a":{"dtype":"F32","shape":[-1,-1],"data_offsets":[0,4]}}`, "1234"), "offsets"},
		"overflow":         {raw(`{"a":{"dtype":"F32","shape":[1048576,1048576,1048576,1048576],"data_offsets":[0,0]}}`, ""), "offsets"},
		"negative offsets": {raw(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}`, "1234"), "offsets"},
		"overlap":          {raw(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, "12345678"), "ends at 4"},
		"left over":        {raw(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, "12345678"), "of 8"},
	} {
		if _, err := Decode(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one about %q", name, err, c.want)
		}
	}
	if _, err := (&File{Tensors: map[string]Tensor{"a": {Shape: []int{2}, Data: []float32{1}}}}).Encode(); err == nil {
		t.Error("a tensor that does not fill its shape is encoded")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(raw(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, "1234"))
	f.Add(raw(`{"__metadata__":{"k":"v"}}`, ""))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Decode(data)
		if err != nil {
			return
		}
		if _, err := file.Encode(); err != nil {
			t.Errorf("decoded but not encoded: %v", err)
		}
	})
}
