// Package image makes container images from programs and files, without a container engine: one layer over nothing.
package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// UserID is the numeric user and group that images run as, as in the distroless "nonroot" images.
const UserID = "65532"

const (
	certificates = "/etc/ssl/certs/ca-certificates.crt"
	passwd       = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
	group        = "root:x:0:\nnonroot:x:65532:\n"
)

// File is something to add to an image: a file or a folder of this machine and its absolute path in the image.
type File struct {
	Source, Target string
}

// ParseFile reads "source:target".
func ParseFile(text string) (File, error) {
	source, target, found := strings.Cut(text, ":")
	if !found || source == "" || !strings.HasPrefix(target, "/") {
		return File{}, fmt.Errorf("%q: want SOURCE:TARGET with an absolute target", text)
	}
	return File{source, path.Clean(target)}, nil
}

// Spec describes an image.
type Spec struct {
	// Name is the full name with its tag.
	Name string
	// Binary is a statically linked executable on this machine.
	Binary string
	// Entrypoint is the binary's absolute path in the image.
	Entrypoint string
	Add        []File
}

// Write writes the image as an archive that containerd imports. The same inputs give the same bytes.
func (s Spec) Write(to io.Writer) error {
	tag, err := name.NewTag(s.Name, name.StrictValidation)
	if err != nil {
		return fmt.Errorf("image name: %w", err)
	}
	if !path.IsAbs(s.Entrypoint) {
		return fmt.Errorf("image %s: entrypoint %q is not an absolute path", s.Name, s.Entrypoint)
	}
	content, err := s.layer()
	if err != nil {
		return fmt.Errorf("image %s: %w", s.Name, err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	})
	if err != nil {
		return fmt.Errorf("image %s: %w", s.Name, err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return fmt.Errorf("image %s: %w", s.Name, err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return fmt.Errorf("image %s: %w", s.Name, err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	file.Config = v1.Config{
		User:       UserID + ":" + UserID,
		WorkingDir: "/",
		Entrypoint: []string{s.Entrypoint},
		Env:        []string{"PATH=/usr/local/bin:/usr/bin:/bin", "SSL_CERT_FILE=" + certificates},
	}
	img, err = mutate.ConfigFile(img, file)
	if err != nil {
		return fmt.Errorf("image %s: %w", s.Name, err)
	}
	if err := tarball.Write(tag, img, to); err != nil {
		return fmt.Errorf("image %s: %w", s.Name, err)
	}
	return nil
}

// layer is the tar archive of the image's only layer.
func (s Spec) layer() ([]byte, error) {
	var archive bytes.Buffer
	l := layerWriter{tar: tar.NewWriter(&archive), folders: map[string]bool{"/": true}}
	l.folder("/tmp", 0o1777)
	l.file("/etc/passwd", []byte(passwd), 0o644)
	l.file("/etc/group", []byte(group), 0o644)
	roots, err := os.ReadFile(certificates)
	switch {
	case err == nil:
		l.file(certificates, roots, 0o644)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	l.add(File{s.Binary, path.Clean(s.Entrypoint)})
	for _, added := range s.Add {
		l.add(added)
	}
	if l.err != nil {
		return nil, l.err
	}
	if err := l.tar.Close(); err != nil {
		return nil, err
	}
	return archive.Bytes(), nil
}

// layerWriter adds entries that root owns and that carry no times; after a failure it adds no more.
type layerWriter struct {
	tar     *tar.Writer
	folders map[string]bool
	err     error
}

// add copies a file, or a folder with all below it.
func (l *layerWriter) add(from File) {
	if l.err != nil {
		return
	}
	err := filepath.WalkDir(from.Source, func(at string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from.Source, at)
		if err != nil {
			return err
		}
		target := path.Join(from.Target, filepath.ToSlash(relative))
		// Stat, not the entry: a link is copied as what it leads to.
		info, err := os.Stat(at)
		if err != nil {
			return err
		}
		switch {
		case info.IsDir():
			l.folder(target, 0o755)
		case info.Mode().IsRegular():
			content, err := os.ReadFile(at)
			if err != nil {
				return err
			}
			l.file(target, content, info.Mode().Perm()|0o444)
		default:
			return fmt.Errorf("%s is neither a file nor a folder", at)
		}
		return l.err
	})
	if l.err == nil {
		l.err = err
	}
}

// folder adds a folder, and those above it, once.
func (l *layerWriter) folder(at string, mode int64) {
	if l.folders[at] || l.err != nil {
		return
	}
	l.folder(path.Dir(at), 0o755)
	l.folders[at] = true
	l.write(&tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(at, "/") + "/", Mode: mode}, nil)
}

func (l *layerWriter) file(at string, content []byte, mode fs.FileMode) {
	l.folder(path.Dir(at), 0o755)
	l.write(&tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(at, "/"), Mode: int64(mode), Size: int64(len(content))}, content)
}

func (l *layerWriter) write(header *tar.Header, content []byte) {
	if l.err != nil {
		return
	}
	header.ModTime = time.Unix(0, 0)
	if l.err = l.tar.WriteHeader(header); l.err == nil {
		_, l.err = l.tar.Write(content)
	}
}

// ImportArgs are the arguments of ctr that import an archive for Kubernetes' use.
func ImportArgs(socket, snapshotter, file string) []string {
	return []string{"--address", socket, "--namespace", "k8s.io", "images", "import", "--snapshotter", snapshotter, file}
}
