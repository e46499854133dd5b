package video

import (
	"errors"
	"fmt"
)

// Introducers of a GIF's blocks (GIF89a specification, appendix A), and the labels of extensions.
const (
	blockImage     = 0x2c
	blockExtension = 0x21
	blockTrailer   = 0x3b

	labelControl     = 0xf9
	labelComment     = 0xfe
	labelApplication = 0xff
)

var errTruncated = errors.New("the file is truncated")

// countFrames counts the images of a GIF without unpacking any: a few bytes can hold a whole picture, so that
// a decoder must know beforehand how many there are. It walks the blocks as image/gif does, and refuses the
// forms that decoders may read differently: plain text, and an application extension without a name.
func countFrames(data []byte) (int, error) {
	const header = 13 // signature and logical screen descriptor; its flags are the 11th byte
	if len(data) < header {
		return 0, errTruncated
	}
	frames := 0
	for at := header + colours(data[10]); ; {
		if at >= len(data) {
			return 0, errTruncated
		}
		switch data[at] {
		case blockTrailer:
			return frames, nil
		case blockImage:
			const descriptor = 10 // its flags are the last byte
			if at+descriptor > len(data) {
				return 0, errTruncated
			}
			frames++
			at += descriptor + colours(data[at+descriptor-1]) + 1 // and the code size
		case blockExtension:
			if at+2 >= len(data) {
				return 0, errTruncated
			}
			switch label, first := data[at+1], data[at+2]; {
			case label == labelControl, label == labelComment, label == labelApplication && first > 0:
			default:
				return 0, fmt.Errorf("extension %#x at byte %d is not supported", label, at)
			}
			at += 2
		default:
			return 0, fmt.Errorf("block %#x at byte %d is not one of a GIF", data[at], at)
		}
		// A chain of sub-blocks, each with its length before it; the empty one ends it.
		for at < len(data) && data[at] > 0 {
			at += 1 + int(data[at])
		}
		at++
	}
}

// colours is the size in bytes of the colour table that the flags of a descriptor announce.
func colours(flags byte) int {
	if flags&0x80 == 0 {
		return 0
	}
	return 3 << (1 + flags&7)
}
