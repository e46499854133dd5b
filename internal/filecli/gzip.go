package filecli

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
)

// gzipMagic begins every gzip file, whatever its name.
var gzipMagic = []byte{0x1f, 0x8b}

// decompress reads gzip as what it holds, and anything else as it is.
func decompress(r io.Reader, name string) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 256<<10)
	if start, _ := b.Peek(len(gzipMagic)); !bytes.Equal(start, gzipMagic) {
		return b, nil // a read error comes again with the first Read
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return z, nil
}
