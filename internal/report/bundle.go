package report

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spatialalign/operator/internal/contract"
)

const (
	findingsEntry = "findings.json"
	videoFolder   = "videos/"
	maxFindings   = 64 << 20
	// maxBundle bounds an encoded bundle, in bytes.
	maxBundle = maxFindings + maxAllVideos + 1<<20
)

// Bundle is what Gather found, with the videos by digest.
type Bundle struct {
	Findings Findings
	Videos   map[string][]byte
}

// Write the bundle as a gzipped tar: findings.json, then the videos, named by digest.
func (b *Bundle) Write(w io.Writer) error {
	zip := gzip.NewWriter(w)
	archive := tar.NewWriter(zip)
	findings, err := json.Marshal(b.Findings)
	if err != nil {
		return fmt.Errorf("findings: %w", err)
	}
	add := func(name string, data []byte) error {
		if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
			return err
		}
		_, err := archive.Write(data)
		return err
	}
	if err := add(findingsEntry, findings); err != nil {
		return err
	}
	for _, digest := range slices.Sorted(maps.Keys(b.Videos)) {
		if err := add(videoFolder+strings.TrimPrefix(digest, "sha256:"), b.Videos[digest]); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), zip.Close())
}

// ReadBundle reads what Write wrote and trusts none of it: names are looked up, never used as paths,
// every video must be one that the findings name, with that digest and of a kind that browsers show.
func ReadBundle(r io.Reader) (*Bundle, error) {
	zip, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	archive := tar.NewReader(io.LimitReader(zip, maxBundle))
	b := &Bundle{Videos: make(map[string][]byte)}
	data, err := entry(archive, findingsEntry, maxFindings)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &b.Findings); err != nil {
		return nil, fmt.Errorf("bundle: %s: %w", findingsEntry, err)
	}
	named := b.Findings.videos()
	for {
		data, err := entry(archive, "", maxVideo)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		digest := contract.Digest(data)
		if kind, ok := named[digest]; !ok || kind != mediaType(data) {
			return nil, fmt.Errorf("bundle: an entry with digest %s is no video that the findings name", digest)
		}
		b.Videos[digest] = data
	}
	for digest := range named {
		if b.Videos[digest] == nil {
			return nil, fmt.Errorf("bundle: the video with digest %s is missing", digest)
		}
	}
	// What follows the archive is its padding; reading it checks gzip's checksum.
	if _, err := io.Copy(io.Discard, io.LimitReader(zip, 1<<20)); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	return b, nil
}

// entry reads the next file of an archive, whatever its name when want is empty.
func entry(archive *tar.Reader, want string, limit int64) ([]byte, error) {
	header, err := archive.Next()
	if errors.Is(err, io.EOF) && want == "" {
		return nil, io.EOF
	}
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	if header.Typeflag != tar.TypeReg || header.Size > limit || want != "" && header.Name != want {
		return nil, fmt.Errorf("bundle: unexpected entry %q of %d bytes", header.Name, header.Size)
	}
	data, err := io.ReadAll(archive)
	if err != nil {
		return nil, fmt.Errorf("bundle: %s: %w", header.Name, err)
	}
	return data, nil
}

// videos that the galleries name: media types by digest.
func (f *Findings) videos() map[string]string {
	named := make(map[string]string)
	for _, gallery := range f.Galleries {
		for _, row := range gallery.Rows {
			for _, clip := range []Clip{row.Left, row.Right} {
				if clip.Video != nil {
					named[clip.Video.Digest] = clip.Video.MediaType
				}
			}
		}
	}
	return named
}
