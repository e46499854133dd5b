package artifact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"regexp"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/spatialalign/operator/internal/contract"
)

var digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// ValidDigest reports whether a digest is "sha256:" and 64 lower-case hex digits.
func ValidDigest(digest string) bool { return digestPattern.MatchString(digest) }

// ReadVerified reads a whole file of at most limit bytes and checks its digest. An artifact without
// a digest (a user's input that nobody has pinned yet) is read as it is.
func (s *Store) ReadVerified(ctx context.Context, a contract.Artifact, limit int64) ([]byte, error) {
	r, err := s.OpenVerified(ctx, a)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size := r.size; size > limit {
		return nil, corrupt("read", a.Key, "%d bytes, at most %d are allowed", size, limit)
	}
	var data bytes.Buffer
	data.Grow(int(min(r.size, limit)) + bytes.MinRead)
	// A file may grow after its size was taken.
	n, err := data.ReadFrom(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, corrupt("read", a.Key, "more than the %d bytes allowed", limit)
	}
	return data.Bytes(), nil
}

// VerifiedReader streams a file and checks its digest at the end.
type VerifiedReader struct {
	ctx    context.Context
	a      contract.Artifact
	from   *blob.Reader
	digest hash.Hash
	size   int64
	err    error // what Read ended with
}

// OpenVerified opens a file for streaming. The digest is known only at the end: Read returns io.EOF
// when it was right and a Corrupt error instead when it was not. Until io.EOF was seen, treat what
// was read as unverified: commit nothing that depends on it.
func (s *Store) OpenVerified(ctx context.Context, a contract.Artifact) (*VerifiedReader, error) {
	if err := checkKey("read", a.Key); err != nil {
		return nil, err
	}
	if a.Digest != "" && !ValidDigest(a.Digest) {
		return nil, corrupt("read", a.Key, "%q is not a digest: want sha256: and 64 hex digits", a.Digest)
	}
	from, err := s.bucket.NewReader(ctx, a.Key, nil)
	if err != nil {
		return nil, wrap(ctx, "read", a.Key, err)
	}
	return &VerifiedReader{ctx: ctx, a: a, from: from, digest: sha256.New(), size: from.Size()}, nil
}

// Size is the file's size in bytes, as the store tells it.
func (r *VerifiedReader) Size() int64 { return r.size }

// Digest of what was read so far; the file's own after io.EOF.
func (r *VerifiedReader) Digest() string { return sum(r.digest) }

// Read implements io.Reader.
func (r *VerifiedReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	// A folder's files know nothing of the context.
	if err := r.ctx.Err(); err != nil {
		r.err = wrap(r.ctx, "read", r.a.Key, err)
		return 0, r.err
	}
	n, err := r.from.Read(p)
	r.digest.Write(p[:n])
	switch {
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF):
		r.err = wrap(r.ctx, "read", r.a.Key, err)
	case r.a.Digest != "" && r.Digest() != r.a.Digest:
		r.err = corrupt("read", r.a.Key, "its digest is %s, not %s: the file is truncated or was changed", r.Digest(), r.a.Digest)
	default:
		r.err = io.EOF
	}
	return n, r.err
}

// Finish reads what is left and returns nil exactly when the whole file was what its digest promises.
func (r *VerifiedReader) Finish() error {
	_, err := io.Copy(io.Discard, r)
	return err
}

// Close implements io.Closer.
func (r *VerifiedReader) Close() error { return r.from.Close() }

// Verify reads a file to the end and checks size and digest.
func (s *Store) Verify(ctx context.Context, f contract.File) error {
	if !ValidDigest(f.Digest) {
		return corrupt("verify", f.Key, "%q is not a digest: want sha256: and 64 hex digits", f.Digest)
	}
	r, err := s.OpenVerified(ctx, contract.Artifact{Key: f.Key, Digest: f.Digest})
	if err != nil {
		return err
	}
	defer r.Close()
	if r.Size() != f.Size {
		return corrupt("verify", f.Key, "%d bytes, not %d: the file is truncated or was changed", r.Size(), f.Size)
	}
	return r.Finish()
}

// Size of a file in bytes; a Missing error when there is none.
func (s *Store) Size(ctx context.Context, key string) (int64, error) {
	if err := checkKey("look up", key); err != nil {
		return 0, err
	}
	attributes, err := s.bucket.Attributes(ctx, key)
	if err != nil {
		return 0, wrap(ctx, "look up", key, err)
	}
	return attributes.Size, nil
}

// List gives the keys that start with prefix, in byte order.
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	var keys []string
	err := s.Walk(ctx, prefix, func(o Object) error {
		keys = append(keys, o.Key)
		return nil
	})
	return keys, err
}

// Object is what a listing tells of a file.
type Object struct {
	Key  string
	Size int64
	// ModTime is when the file was written, by the store's clock.
	ModTime time.Time
}

// Walk calls fn with every file whose key starts with prefix, in the byte order of keys, and ends with
// fn's first error.
func (s *Store) Walk(ctx context.Context, prefix string, fn func(Object) error) error {
	for iterator := s.bucket.List(&blob.ListOptions{Prefix: prefix}); ; {
		object, err := iterator.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return wrap(ctx, "list", prefix, err)
		}
		if err := fn(Object{Key: object.Key, Size: object.Size, ModTime: object.ModTime}); err != nil {
			return err
		}
	}
}

// Delete a file; one that is gone already is no error.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := checkKey("delete", key); err != nil {
		return err
	}
	err := s.bucket.Delete(ctx, key)
	if err == nil || gcerrors.Code(err) == gcerrors.NotFound {
		return nil
	}
	return wrap(ctx, "delete", key, err)
}

// Write stores what r yields under a key and says what it was. Nobody ever sees half a file: it
// appears when it is whole, and replaces what was there. On any error, also of r, nothing changes.
func (s *Store) Write(ctx context.Context, key string, r io.Reader) (contract.File, error) {
	return s.write(ctx, key, r, &blob.WriterOptions{ContentType: "application/octet-stream"})
}

// WriteIfAbsent stores data under a key that has no file yet, atomically: of several writers exactly
// one is told that it committed. (After a lost answer and a retry even that one may be told that it
// did not: read the file to see whose it is.)
func (s *Store) WriteIfAbsent(ctx context.Context, key string, data []byte) (committed bool, err error) {
	const conflicts = 5 // S3 answers 409 when two conditional writes meet: the loser asks again
	for range conflicts {
		_, err = s.write(ctx, key, bytes.NewReader(data), &blob.WriterOptions{ContentType: "application/octet-stream", IfNotExist: true})
		if !isConflict(err) {
			break
		}
	}
	if gcerrors.Code(err) == gcerrors.FailedPrecondition {
		return false, nil
	}
	return err == nil, err
}

func (s *Store) write(ctx context.Context, key string, r io.Reader, opts *blob.WriterOptions) (contract.File, error) {
	if err := checkKey("write", key); err != nil {
		return contract.File{}, err
	}
	writeCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := s.bucket.NewWriter(writeCtx, key, opts)
	if err != nil {
		return contract.File{}, wrap(ctx, "write", key, err)
	}
	digest := sha256.New()
	source := &source{r: r}
	size, err := io.Copy(w, io.TeeReader(source, digest))
	if err != nil {
		cancel() // closing a writer whose context is done discards the file
		closeErr := w.Close()
		if source.err != nil {
			return contract.File{}, fmt.Errorf("write %s: %w", key, source.err)
		}
		return contract.File{}, wrap(ctx, "write", key, errors.Join(err, closeErr))
	}
	if err := w.Close(); err != nil {
		return contract.File{}, wrap(ctx, "write", key, err)
	}
	return contract.File{Key: key, Size: size, Digest: sum(digest)}, nil
}

// source remembers the error of a reader, so that it is not taken for the store's.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

func sum(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }
