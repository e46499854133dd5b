package scene

// The size of the world, in units, and of a latent.
const (
	WorldWidth  = 64
	WorldHeight = 48

	KeyFrames  = 8
	Channels   = 7 // of a sprite in a key frame: centre x and y, width, height, red, green, blue
	keySize    = 2 * Channels
	LatentSize = KeyFrames * keySize
)

// Size of a video: its frames, at least 2, and their pixels, at least 1 each way. The world is stretched
// over the pixels and the key frames over the frames, so that the same latent tells the same story at any size.
type Size struct{ Frames, Width, Height int }

// OwnSize is the runtime's own: a pixel for each unit of the world.
var OwnSize = Size{Frames: 24, Width: WorldWidth, Height: WorldHeight}

// Sprite is what one role looks like in a frame. Units of the world; colours in 0..1.
type Sprite struct {
	X, Y, Width, Height float32 // centre and size
	R, G, B             float32
}

// Key is a key frame; frames between two are interpolated linearly.
type Key struct{ Subject, Object Sprite }

// offset and scale of each channel bring latents to about zero mean and to spreads near 1; that of the
// positions is larger, about 2, since they carry what preferences are about.
var (
	offset = [Channels]float32{32, 30, 8, 8, 0.5, 0.5, 0.5}
	scale  = [Channels]float32{8, 6, 4, 4, 0.5, 0.5, 0.5}
)

// Encode key frames as a latent.
func Encode(dst []float32, keys *[KeyFrames]Key) {
	for k := range keys {
		keys[k].Subject.encode(dst[k*keySize:])
		keys[k].Object.encode(dst[k*keySize+Channels:])
	}
}

// Decode a latent's key frames.
func Decode(latent []float32) *[KeyFrames]Key {
	var keys [KeyFrames]Key
	for k := range keys {
		keys[k].Subject.decode(latent[k*keySize:])
		keys[k].Object.decode(latent[k*keySize+Channels:])
	}
	return &keys
}

// At interpolates frame f (from 0) of so many frames, at least 2.
func At(keys *[KeyFrames]Key, f, frames int) Key {
	t := float32(f) * (KeyFrames - 1) / float32(frames-1)
	k := min(int(t), KeyFrames-2)
	t -= float32(k)
	return Key{between(keys[k].Subject, keys[k+1].Subject, t), between(keys[k].Object, keys[k+1].Object, t)}
}

func (s *Sprite) channels() [Channels]*float32 {
	return [Channels]*float32{&s.X, &s.Y, &s.Width, &s.Height, &s.R, &s.G, &s.B}
}

func (s *Sprite) encode(dst []float32) {
	for i, c := range s.channels() {
		dst[i] = (*c - offset[i]) / scale[i]
	}
}

func (s *Sprite) decode(src []float32) {
	for i, c := range s.channels() {
		*c = src[i]*scale[i] + offset[i]
	}
}

func between(a, b Sprite, t float32) (s Sprite) {
	from, to := a.channels(), b.channels()
	for i, c := range s.channels() {
		*c = *from[i] + t*(*to[i]-*from[i])
	}
	return s
}
