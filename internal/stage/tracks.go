package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/records"
)

// maxKept bounds the kept tracks of one video, in bytes.
const maxKept = 4 << 20

// ReadTracks gives the tracks that are kept under a track key; they carry no sample. IsMissing of package artifact tells
// that there are none, IsCorrupt that they are damaged: they are to be found, or found again.
func ReadTracks(ctx context.Context, store *artifact.Store, trackKey string) (*contract.TrackLine, error) {
	key := contract.TrackFileKey(trackKey)
	data, err := store.ReadVerified(ctx, contract.Artifact{Key: key}, maxKept)
	if err != nil {
		return nil, err
	}
	line, err := decodeKept(data, trackKey)
	if err != nil {
		return nil, &artifact.Error{Kind: artifact.Corrupt, Op: "read kept tracks", Key: key, Err: err}
	}
	return line, nil
}

func decodeKept(data []byte, trackKey string) (*contract.TrackLine, error) {
	var kept contract.KeptTracks
	if err := artifact.DecodeStrict(data, &kept); err != nil {
		return nil, err
	}
	if kept.TrackKey != trackKey {
		return nil, fmt.Errorf("trackKey is %q, not %q", kept.TrackKey, trackKey)
	}
	if got := contract.Digest(kept.Line); got != kept.Digest {
		return nil, fmt.Errorf("line has digest %s, not %s", got, kept.Digest)
	}
	decoder, line := records.TrackDecoder{Nameless: true}, &contract.TrackLine{}
	if err := decoder.Decode(kept.Line, line); err != nil {
		return nil, fmt.Errorf("line: %w", err)
	}
	line.SampleID, line.PromptID, line.Seed = "", "", 0
	return line, nil
}

// KeepTracks keeps the tracks of a video, unless another pod has done so. With replace it puts them in the place of
// damaged ones.
func KeepTracks(ctx context.Context, store *artifact.Store, trackKey string, line *contract.TrackLine, replace bool) error {
	raw, err := json.Marshal(line)
	if err != nil {
		return err
	}
	data, err := json.Marshal(contract.KeptTracks{TrackKey: trackKey, Digest: contract.Digest(raw), Line: raw})
	if err != nil {
		return err
	}
	if replace {
		_, err = store.Write(ctx, contract.TrackFileKey(trackKey), bytes.NewReader(data))
	} else {
		_, err = store.WriteIfAbsent(ctx, contract.TrackFileKey(trackKey), data)
	}
	return err
}
