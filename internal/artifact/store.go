// Package artifact is the artifact store: a folder or an S3-compatible bucket, read by digest.
//
// A Store holds files under keys (contract.ValidKey) below one root. What is read is checked against
// the digest that names it, so that a truncated or tampered file is an error and never data. Every
// error is an *Error and says which exit code of the stage contract it amounts to.
package artifact

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"

	"github.com/spatialalign/operator/internal/contract"
)

// Store is one artifact root. It is safe for concurrent use, also by several processes.
type Store struct {
	bucket *blob.Bucket
	// sync makes what was written durable; nil where every write already is.
	sync func() error
}

// Open opens the root that a URL names:
//
//	file:///dir                                               a folder, made when absent
//	s3://bucket/prefix?region=R&endpoint=URL&use_path_style=true   a bucket, keys below prefix/
//
// The query of an s3 URL takes the options of gocloud.dev/blob/s3blob. Credentials come from the
// environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ...), never from the URL.
func Open(ctx context.Context, rawURL string) (*Store, error) { return open(ctx, rawURL, true) }

// OpenExisting is Open for those who only look: a folder that is absent is an error and not made, since an empty store is
// what a mistyped URL would look like. A bucket is asked for nothing yet: S3 knows no prefix without keys.
func OpenExisting(ctx context.Context, rawURL string) (*Store, error) {
	return open(ctx, rawURL, false)
}

func open(ctx context.Context, rawURL string, create bool) (*Store, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The parser's error quotes the URL, which may hold a password by mistake.
		return nil, &Error{Kind: Misnamed, Op: "open store", Err: fmt.Errorf("not a URL: want file:///dir or s3://bucket/prefix?region=R")}
	}
	if u.User != nil {
		return nil, &Error{Kind: Misnamed, Op: "open store", Err: fmt.Errorf("credentials do not belong in the store's URL; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")}
	}
	switch u.Scheme {
	case "file":
		return openFolder(u, create)
	case s3blob.Scheme:
		return openS3(ctx, u)
	default:
		return nil, &Error{Kind: Misnamed, Op: "open store", Err: fmt.Errorf("URL %q: scheme must be file or s3", u.Redacted())}
	}
}

// Close releases the root.
func (s *Store) Close() error { return s.bucket.Close() }

// Sync makes all that was written so far durable: after it returns, a power cut loses none of it.
// S3 needs nothing, and a folder one flush of its file system.
func (s *Store) Sync() error {
	if s.sync == nil {
		return nil
	}
	if err := s.sync(); err != nil {
		return &Error{Kind: Storage, Op: "flush store", Err: err}
	}
	return nil
}

func openFolder(u *url.URL, create bool) (*Store, error) {
	if u.Host != "" || u.RawQuery != "" || !filepath.IsAbs(filepath.FromSlash(u.Path)) {
		return nil, &Error{Kind: Misnamed, Op: "open store", Err: fmt.Errorf("URL %q: a folder is file:///absolute/path, without options", u)}
	}
	folder, err := newFolder(filepath.FromSlash(u.Path), create)
	if err != nil {
		return nil, &Error{Kind: Storage, Op: "open store", Err: err}
	}
	return &Store{bucket: blob.NewBucket(folder), sync: folder.sync}, nil
}

func openS3(ctx context.Context, u *url.URL) (*Store, error) {
	prefix := strings.Trim(u.Path, "/")
	if prefix != "" {
		if err := contract.ValidKey(prefix); err != nil {
			return nil, &Error{Kind: Misnamed, Op: "open store", Err: fmt.Errorf("URL %q: prefix: %w", u, err)}
		}
	}
	// Our own digests cover every file; S3's newer checksums would only shut out older servers.
	q := u.Query()
	for _, name := range []string{"request_checksum_calculation", "response_checksum_validation"} {
		if !q.Has(name) {
			q.Set(name, "when_required")
		}
	}
	opener := s3blob.URLOpener{}
	bucket, err := opener.OpenBucketURL(ctx, &url.URL{Scheme: u.Scheme, Host: u.Host, RawQuery: q.Encode()})
	if err != nil {
		return nil, &Error{Kind: Misnamed, Op: "open store", Err: err}
	}
	if prefix != "" {
		bucket = blob.PrefixedBucket(bucket, prefix+"/")
	}
	return &Store{bucket: bucket}, nil
}
