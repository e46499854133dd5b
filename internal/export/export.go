// Package export takes artifacts out of a store, each checked against its digest.
package export

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
)

// maxBytes bounds all files of an export together. Whoever asks holds them in memory until all are checked.
const maxBytes = 512 << 20

// File of an export: an artifact, and the name that it gets.
type File struct {
	Name string `json:"name"`
	contract.Artifact
}

// Question lists the files to take out of the store.
type Question struct {
	Files []File `json:"files"`
}

// Answer is the errand "export": the question is a Question, the answer a tar of its files in their order. It streams them from
// the store, so that a pod with little memory can send them.
func Answer(ctx context.Context, store *artifact.Store, question []byte, _ func(string, ...any)) (answer func(io.Writer) error, err error) {
	var q Question
	if err := artifact.DecodeStrict(question, &q); err != nil {
		return nil, fmt.Errorf("question: %w", err)
	}
	left := int64(maxBytes)
	for _, f := range q.Files {
		size, err := store.Size(ctx, f.Key)
		if err != nil {
			return nil, err
		}
		if left -= size; left < 0 {
			return nil, fmt.Errorf("%s: all files together have more than %d MiB; copy them from the store", f.Key, maxBytes>>20)
		}
	}
	return func(w io.Writer) error {
		archive := tar.NewWriter(w)
		for _, f := range q.Files {
			if err := add(ctx, store, archive, f); err != nil {
				return err
			}
		}
		return archive.Close()
	}, nil
}

// add a file to an archive. Only at its end it shows whether it was the one that was asked for.
func add(ctx context.Context, store *artifact.Store, archive *tar.Writer, f File) error {
	r, err := store.OpenVerified(ctx, f.Artifact)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.Name, Mode: 0o644, Size: r.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(archive, r)
	return err
}

// Unpack writes the files of an answer into a folder, which is made when absent, and tells their paths. It trusts nothing
// of the answer: the names are those of the question, and the bytes must have its digests. Before a file is written, all are checked.
func Unpack(answer []byte, q Question, dir string) ([]string, error) {
	archive := tar.NewReader(bytes.NewReader(answer))
	contents := make([][]byte, len(q.Files))
	for i, f := range q.Files {
		header, err := archive.Next()
		if err != nil {
			return nil, fmt.Errorf("answer of pod: %s is missing: %w", f.Name, err)
		}
		if contents[i], err = io.ReadAll(archive); err != nil {
			return nil, fmt.Errorf("answer of pod: %s: %w", f.Name, err)
		}
		if got := contract.Digest(contents[i]); header.Name != f.Name || got != f.Digest {
			return nil, fmt.Errorf("answer of pod: %q with %s, want %s with %s", header.Name, got, f.Name, f.Digest)
		}
	}
	if _, err := archive.Next(); !errors.Is(err, io.EOF) {
		return nil, errors.New("answer of pod: more files than were asked for")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var paths []string
	for i, f := range q.Files {
		path := filepath.Join(dir, f.Name)
		if err := os.WriteFile(path, contents[i], 0o644); err != nil {
			return paths, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}
