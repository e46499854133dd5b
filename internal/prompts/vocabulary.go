package prompts

import (
	"slices"

	"github.com/spatialalign/operator/internal/contract"
)

// Animals are the subjects of generated prompts, in alphabetical order.
func Animals() []string {
	return []string{
		"bird", "cat", "dog", "duck", "fox", "goat", "horse", "monkey", "pig", "rabbit", "squirrel", "turtle",
	}
}

// Objects are the objects of generated prompts, in alphabetical order.
func Objects() []string {
	return []string{
		"barrel", "bench", "bucket", "chair", "crate", "desk", "hydrant", "lamp", "log", "mailbox", "stone", "table",
	}
}

// HeldOutAnimals never occur in a generated training set, so that an evaluation can tell apart what
// alignment does for classes it never saw.
func HeldOutAnimals() []string { return []string{"goat", "horse"} }

// HeldOutObjects never occur in a generated training set.
func HeldOutObjects() []string { return []string{"barrel", "mailbox"} }

// HeldOut reports whether a prompt names a held-out animal or object.
func HeldOut(p contract.PromptLine) bool {
	return slices.Contains(HeldOutAnimals(), normal(p.Subject)) || slices.Contains(HeldOutObjects(), normal(p.Object))
}

// verbs say how each animal gets from one place to the other.
var verbs = map[string][]string{
	"bird":     {"flies", "flutters", "glides", "hops"},
	"cat":      {"pads", "prowls", "sneaks", "strolls"},
	"dog":      {"bounds", "dashes", "runs", "trots"},
	"duck":     {"flaps", "shuffles", "waddles", "wanders"},
	"fox":      {"darts", "slinks", "sprints", "trots"},
	"goat":     {"clambers", "hops", "skips", "trots"},
	"horse":    {"canters", "gallops", "strides", "trots"},
	"monkey":   {"climbs", "leaps", "scrambles", "swings"},
	"pig":      {"ambles", "scurries", "trots", "waddles"},
	"rabbit":   {"bounces", "hops", "jumps", "scampers"},
	"squirrel": {"bounds", "darts", "scampers", "scurries"},
	"turtle":   {"ambles", "crawls", "plods", "shuffles"},
}

// scenes name no animal and no object of the vocabulary, which a detector would find in them.
var scenes = []string{
	"Along a cobbled lane with ivy walls,",
	"Among dunes with tall grass,",
	"Among vineyards in late summer,",
	"At a quiet harbour with sailing boats,",
	"At the foot of a snowy mountain,",
	"At the rim of a red canyon,",
	"Beneath blooming cherry trees,",
	"Beneath tall pines in the fog,",
	"Beside a frozen pond in winter,",
	"Beside a lighthouse on a cliff,",
	"Beside a wooden fence at sunrise,",
	"By a mill with a slow river,",
	"By a waterfall with drifting mist,",
	"By an old castle gate,",
	"In a bamboo grove with soft light,",
	"In a barnyard with scattered straw,",
	"In a bright kitchen with white tiles,",
	"In a cactus garden at noon,",
	"In a field of sunflowers,",
	"In a greenhouse full of ferns,",
	"In a lavender field under a clear sky,",
	"In a misty valley at dawn,",
	"In a playground with yellow sand,",
	"In a quiet library with tall shelves,",
	"In a snowy schoolyard,",
	"In a sunlit studio with bare walls,",
	"In a walled garden with roses,",
	"In an apple orchard in autumn,",
	"In an empty car park after rain,",
	"Inside a wooden cabin with a rug,",
	"Inside an old train station,",
	"Near a campsite with a green tent,",
	"Near a pumpkin patch in October,",
	"Near a row of beach huts,",
	"Near a windmill in open country,",
	"On a balcony above the city,",
	"On a dirt road between wheat fields,",
	"On a golf course with trimmed grass,",
	"On a mossy forest floor,",
	"On a pier at low tide,",
	"On a rooftop terrace with string lights,",
	"On a running track with white lines,",
	"On a salt flat under a pale sky,",
	"On a tiled patio with flower pots,",
	"On a village green with daisies,",
	"On the bank of a wide lake,",
	"On the steps of a museum,",
	"Under a railway bridge covered in paint,",
	"Under a striped market awning,",
}
