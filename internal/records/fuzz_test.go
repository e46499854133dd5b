package records

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/spatialalign/operator/internal/contract"
)

// What is accepted is what encoding/json reads, and reads back after being written.
func checkAgainstEncodingJSON[T any](t *testing.T, read func(io.Reader, string, func(T) error) error, text string) {
	t.Helper()
	lines, err := readAll(read, text)
	if err != nil || len(lines) != 1 {
		return
	}
	var want T
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&want); err != nil {
		t.Fatalf("accepts %q, encoding/json says %v", text, err)
	}
	written, err := json.Marshal(lines[0])
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if wanted, err := json.Marshal(want); err != nil || !equalButForEmptyFrames(written, wanted) {
		t.Fatalf("reads %q as %s, encoding/json as %s (%v)", text, written, wanted, err)
	}
	if again, err := readAll(read, string(written)); err != nil || !reflect.DeepEqual(again, lines) {
		t.Fatalf("%s reads back as %+v, %v", written, again, err)
	}
}

func equalButForEmptyFrames(a, b []byte) bool {
	normal := func(text []byte) []byte {
		return bytes.ReplaceAll(text, []byte(`"frames":[]`), []byte(`"frames":null`))
	}
	return bytes.Equal(normal(a), normal(b))
}

func FuzzTracks(f *testing.F) {
	f.Add(`{"sampleID":"s","promptID":"p","seed":1,"width":8,"height":4,"frameCount":2,"status":"Tracked","reason":"","frames":[{"index":1,"subject":[1,2.5,3e1,-4],"object":[0,0,0.1,1]},{"index":0}]}`)
	f.Add(`{"sampleID":"s","promptID":"p","seed":1,"status":"Invalid","reason":"NoVideo","frames":null}`)
	f.Add(`{"sampleID":"\ud83d\ude00","promptID":"p","seed":18446744073709551615,"status":"Tracked"}`)
	f.Fuzz(func(t *testing.T, text string) { checkAgainstEncodingJSON[contract.TrackLine](t, readTracks, text) })
}

func FuzzScores(f *testing.F) {
	f.Add(`{"sampleID":"s","promptID":"p","seed":1,"status":"Scored","reason":"","score":0.73,"terms":{"initial":1,"initialGap":0,"final":-0.5,"finalGap":1e-3},"usableFrames":79}`)
	f.Add(`{"sampleID":"s","promptID":"p","seed":1,"status":"Invalid","reason":"NoStableRun","usableFrames":0}`)
	f.Fuzz(func(t *testing.T, text string) { checkAgainstEncodingJSON(t, ReadScores, text) })
}

func FuzzPairs(f *testing.F) {
	f.Add(`{"promptID":"p","iteration":1,"winner":"a","loser":"b","winnerScore":0.9,"loserScore":0.1}`)
	f.Fuzz(func(t *testing.T, text string) { checkAgainstEncodingJSON(t, ReadPairs, text) })
}

func FuzzIndex(f *testing.F) {
	f.Add(`{"sampleID":"s","promptID":"p","seed":1,"video":{"key":"a/b.mp4","digest":"sha256:0"}}`)
	f.Fuzz(func(t *testing.T, text string) { checkAgainstEncodingJSON(t, ReadIndex, text) })
}
