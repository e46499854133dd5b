package artifact

import (
	"errors"

	"golang.org/x/sys/unix"
)

// sync flushes the file system of the folder: one call however many files were written.
func (f *folder) sync() error {
	dir, err := f.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(dir.Fd())), dir.Close())
}
