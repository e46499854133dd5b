package stages

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
)

// maxKept bounds the kept tracks of one video, in bytes.
const maxKept = 4 << 20

// keptTracks is the file that keeps the tracks of a video. Nothing vouches for it from outside, so that it says
// itself whose tracks it holds and what they are: one that was damaged, or moved, is noticed.
type keptTracks struct {
	// TrackKey is contract.TrackKey of the video.
	TrackKey string `json:"trackKey"`
	// Digest of Line's bytes.
	Digest string `json:"digest"`
	// Line is a contract.TrackLine without the sample: several may have the same video.
	Line json.RawMessage `json:"line"`
}

// findKept gives the tracks kept under a track key; nil when there are none, or damaged ones, which are to be replaced.
func (s *tracker) findKept(ctx context.Context, trackKey string) (line *contract.TrackLine, damaged bool, err error) {
	key := contract.TrackFileKey(trackKey)
	data, err := s.Store.ReadVerified(ctx, contract.Artifact{Key: key}, maxKept)
	if artifact.IsMissing(err) {
		return nil, false, nil
	}
	if err == nil {
		line, err = decodeKept(data, trackKey)
	} else if !artifact.IsCorrupt(err) {
		return nil, false, err
	}
	if err != nil {
		s.Log.Warn("kept tracks are damaged and made again", "key", key, "error", err.Error())
		return nil, true, nil
	}
	return line, false, nil
}

func decodeKept(data []byte, trackKey string) (*contract.TrackLine, error) {
	var kept keptTracks
	if err := artifact.DecodeStrict(data, &kept); err != nil {
		return nil, err
	}
	if kept.TrackKey != trackKey {
		return nil, fmt.Errorf("trackKey is %q, not %q", kept.TrackKey, trackKey)
	}
	if got := contract.Digest(kept.Line); got != kept.Digest {
		return nil, fmt.Errorf("line has digest %s, not %s", got, kept.Digest)
	}
	line := &contract.TrackLine{}
	if err := artifact.DecodeStrict(kept.Line, line); err != nil {
		return nil, fmt.Errorf("line: %w", err)
	}
	return line, nil
}

// keep the tracks of a video, unless another pod has done so; in the place of damaged ones.
func (s *tracker) keep(ctx context.Context, trackKey string, line *contract.TrackLine, damaged bool) error {
	raw, err := json.Marshal(line)
	if err != nil {
		return err
	}
	data, err := json.Marshal(keptTracks{TrackKey: trackKey, Digest: contract.Digest(raw), Line: raw})
	if err != nil {
		return err
	}
	if damaged {
		_, err = s.Store.Write(ctx, contract.TrackFileKey(trackKey), bytes.NewReader(data))
	} else {
		_, err = s.Store.WriteIfAbsent(ctx, contract.TrackFileKey(trackKey), data)
	}
	return err
}
