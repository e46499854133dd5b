// Package scene is the little world of the synthetic runtime: what its words look like, the latent
// of a video, the captioned videos that the base model is pre-trained on, and the renderer.
package scene

// A Look is what a word looks like: its colour and its usual size in units of the world.
type Look struct {
	Word          string
	Color         RGB
	Width, Height float32
}

// RGB is a colour.
type RGB struct{ R, G, B uint8 }

// Subjects and Objects in the order of the model's text inputs. All colours take their channels
// from {0, 128, 255} and none is grey, so that two classes are at least 127 apart in a channel and
// the backdrop is like none of them.
var (
	Subjects = []Look{
		{"bird", RGB{0, 128, 255}, 6, 6},
		{"cat", RGB{255, 128, 0}, 8, 6},
		{"dog", RGB{128, 0, 0}, 9, 7},
		{"duck", RGB{255, 255, 0}, 7, 6},
		{"fox", RGB{255, 0, 0}, 9, 6},
		{"goat", RGB{255, 255, 128}, 9, 8},
		{"horse", RGB{128, 0, 128}, 11, 9},
		{"monkey", RGB{128, 0, 255}, 7, 9},
		{"pig", RGB{255, 128, 255}, 9, 7},
		{"rabbit", RGB{255, 0, 255}, 6, 7},
		{"squirrel", RGB{255, 0, 128}, 6, 6},
		{"turtle", RGB{0, 128, 0}, 8, 5},
	}
	Objects = []Look{
		{"barrel", RGB{128, 128, 0}, 8, 10},
		{"bench", RGB{0, 128, 128}, 14, 7},
		{"bucket", RGB{0, 255, 255}, 7, 8},
		{"chair", RGB{0, 0, 128}, 8, 11},
		{"crate", RGB{255, 128, 128}, 10, 9},
		{"desk", RGB{128, 128, 255}, 14, 9},
		{"hydrant", RGB{0, 255, 0}, 6, 10},
		{"lamp", RGB{128, 255, 0}, 6, 13},
		{"log", RGB{0, 255, 128}, 14, 5},
		{"mailbox", RGB{0, 0, 255}, 7, 12},
		{"stone", RGB{128, 255, 128}, 10, 7},
		{"table", RGB{128, 255, 255}, 13, 9},
	}
)

// Words lists the words of looks.
func Words(looks []Look) []string {
	words := make([]string, len(looks))
	for i, l := range looks {
		words[i] = l.Word
	}
	return words
}

// Find the look of a word.
func Find(looks []Look, word string) (Look, bool) {
	for _, l := range looks {
		if l.Word == word {
			return l, true
		}
	}
	return Look{}, false
}
