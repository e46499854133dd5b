package artifact

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/spatialalign/operator/internal/contract"
)

// folder is a gocloud bucket in a directory. gocloud's own fileblob would do but for two things that
// a volume shared by pods needs: os.Root, so that no symbolic link planted there leads out of it, and
// create-if-absent that is atomic between processes (a hard link; fileblob looks first, then renames).
type folder struct {
	root *os.Root
	dir  string
}

var (
	errUnsupported = errors.New("the folder store does not support this operation")
	errNotRegular  = errors.New("not a regular file")
)

// newFolder is the bucket of a directory, which is made when it is absent if create is set.
func newFolder(dir string, create bool) (*folder, error) {
	if create {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &folder{root: root, dir: dir}, nil
}

// ErrorCode implements driver.Bucket.
func (f *folder) ErrorCode(err error) gcerrors.ErrorCode {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return gcerrors.NotFound
	case errors.Is(err, fs.ErrExist):
		return gcerrors.FailedPrecondition
	case errors.Is(err, fs.ErrPermission):
		return gcerrors.PermissionDenied
	case errors.Is(err, errUnsupported):
		return gcerrors.Unimplemented
	// os.Root has no exported error for a link that leaves the root.
	case errors.Is(err, errNotRegular), strings.Contains(err.Error(), "path escapes from parent"):
		return gcerrors.InvalidArgument
	default:
		return gcerrors.Unknown
	}
}

// As implements driver.Bucket.
func (f *folder) As(any) bool { return false }

// ErrorAs implements driver.Bucket.
func (f *folder) ErrorAs(err error, target any) bool {
	if p, ok := target.(**fs.PathError); ok {
		return errors.As(err, p)
	}
	return false
}

// Close implements driver.Bucket.
func (f *folder) Close() error { return f.root.Close() }

// Attributes implements driver.Bucket.
func (f *folder) Attributes(_ context.Context, key string) (*driver.Attributes, error) {
	info, err := f.root.Stat(key)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	return &driver.Attributes{ModTime: info.ModTime(), Size: info.Size(), AsFunc: func(any) bool { return false }}, nil
}

// ListPaged implements driver.Bucket. The one page holds everything: the callers want it all, and a
// second page would walk the tree again.
func (f *folder) ListPaged(_ context.Context, opts *driver.ListOptions) (*driver.ListPage, error) {
	if opts.Delimiter != "" {
		return nil, errUnsupported
	}
	page := &driver.ListPage{}
	top := path.Dir(opts.Prefix + "x") // the deepest directory that holds all matches
	err := fs.WalkDir(f.root.FS(), top, func(key string, entry fs.DirEntry, err error) error {
		if err != nil {
			return ignoreGone(err)
		}
		// Temporary files have names that are no keys.
		if !entry.Type().IsRegular() || !strings.HasPrefix(key, opts.Prefix) || !isKey(key) {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return ignoreGone(err)
		}
		page.Objects = append(page.Objects, &driver.ListObject{Key: key, ModTime: info.ModTime(), Size: info.Size(), AsFunc: func(any) bool { return false }})
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(page.Objects, func(a, b *driver.ListObject) int { return strings.Compare(a.Key, b.Key) })
	return page, nil
}

func isKey(name string) bool { return contract.ValidKey(name) == nil }

// ignoreGone passes over what is not, or no longer, there.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	return err
}

// folderReader is a driver.Reader.
type folderReader struct {
	io.Reader
	io.Closer
	attributes driver.ReaderAttributes
}

// Attributes implements driver.Reader.
func (r *folderReader) Attributes() *driver.ReaderAttributes { return &r.attributes }

// As implements driver.Reader.
func (r *folderReader) As(any) bool { return false }

// NewRangeReader implements driver.Bucket.
func (f *folder) NewRangeReader(_ context.Context, key string, offset, length int64, _ *driver.ReaderOptions) (driver.Reader, error) {
	// Without O_NONBLOCK, opening a named pipe that somebody put there would wait for ever.
	file, err := f.root.OpenFile(key, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	if err == nil && offset > 0 {
		_, err = file.Seek(offset, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	r := &folderReader{Reader: file, Closer: file, attributes: driver.ReaderAttributes{ModTime: info.ModTime(), Size: info.Size()}}
	if length >= 0 {
		r.Reader = io.LimitReader(file, length)
	}
	return r, nil
}

// folderWriter writes a file beside its final place and moves it there when closed.
type folderWriter struct {
	*os.File
	ctx       context.Context
	root      *os.Root
	temporary string
	key       string
	ifAbsent  bool
}

// NewTypedWriter implements driver.Bucket.
func (f *folder) NewTypedWriter(ctx context.Context, key, _ string, opts *driver.WriterOptions) (driver.Writer, error) {
	// The ~ keeps the name apart from every key.
	temporary := path.Join(path.Dir(key), fmt.Sprintf(".%s~", rand.Text()))
	file, err := f.create(temporary)
	if err != nil {
		return nil, err
	}
	return &folderWriter{File: file, ctx: ctx, root: f.root, temporary: temporary, key: key, ifAbsent: opts.IfNotExist}, nil
}

// create a file and the directories above it. Delete, of another process, may remove those in between while
// they are still empty.
func (f *folder) create(name string) (file *os.File, err error) {
	const tries = 30
	for range tries {
		if err = f.root.MkdirAll(path.Dir(name), 0o777); errors.Is(err, fs.ErrExist) {
			continue // a directory that was there when it was to be made, and gone when it was looked at
		}
		if err == nil {
			file, err = f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return file, err
}

// Close commits the file, unless the context is done.
func (w *folderWriter) Close() error {
	err := w.File.Close()
	if err == nil {
		err = w.ctx.Err()
	}
	switch {
	case err != nil:
	case w.ifAbsent:
		err = w.root.Link(w.temporary, w.key)
	default:
		if err = w.root.Rename(w.temporary, w.key); err == nil {
			return nil
		}
	}
	return errors.Join(err, w.root.Remove(w.temporary))
}

// Copy implements driver.Bucket.
func (f *folder) Copy(context.Context, string, string, *driver.CopyOptions) error {
	return errUnsupported
}

// Delete implements driver.Bucket. Directories that are left empty go too: a store has keys, and no
// directories.
func (f *folder) Delete(_ context.Context, key string, _ *driver.DeleteOptions) error {
	if err := f.root.Remove(key); err != nil {
		return err
	}
	for dir := path.Dir(key); dir != "." && f.root.Remove(dir) == nil; dir = path.Dir(dir) {
		// up to the first that holds something
	}
	return nil
}

// SignedURL implements driver.Bucket.
func (f *folder) SignedURL(context.Context, string, *driver.SignedURLOptions) (string, error) {
	return "", errUnsupported
}
