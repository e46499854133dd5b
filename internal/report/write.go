package report

import (
	"os"
	"path/filepath"
)

// writeFiles writes a report into a folder, which it makes when absent. Files of an earlier report
// are replaced; others stay.
func writeFiles(dir string, files map[string][]byte) error {
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
