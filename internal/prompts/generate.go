package prompts

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/dsr"
)

// The splits of the space of (type, subject, object). A generated set of one split never overlaps
// one of another, whatever their seeds. A set of no split ("") draws on the whole space.
const (
	SplitTrain      = "train"
	SplitEvaluation = "evaluation"
	SplitTest       = "test"
)

// splitOf gives a triple its split by hash: 70 % train, 20 % evaluation, 10 % test. The train share of
// triples with a held-out animal or object belongs to no split: training must not see it, and
// evaluation keeps both kinds in their natural proportion.
func splitOf(p *contract.PromptLine) string {
	switch percent := contract.Hash64("prompt-split", p.Type, p.Subject, p.Object) % 100; {
	case percent >= 90:
		return SplitTest
	case percent >= 70:
		return SplitEvaluation
	case HeldOut(*p):
		return ""
	default:
		return SplitTrain
	}
}

// Generate makes a prompt set. The same description always gives the same set. Relations (all six
// types if empty) occur equally often, up to one, and so do animals, objects and scenes as far as
// the split allows; no (type, subject, object) occurs twice. An unknown relation or split, a relation
// given twice, and a count above what the split offers are errors.
func Generate(g contract.Generate) ([]contract.PromptLine, error) {
	types, err := parseTypes(g.Relations)
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"", SplitTrain, SplitEvaluation, SplitTest}, g.Split) {
		return nil, fmt.Errorf("unknown split %q: use %s, %s, %s, or none for the whole space", g.Split, SplitTrain, SplitEvaluation, SplitTest)
	}
	generator := generator{seed: strconv.FormatUint(g.Seed, 10), used: map[string]int{}}
	offers := make([][]contract.PromptLine, len(types))
	for k, t := range types {
		offers[k] = generator.offer(t, g.Split)
	}
	shares, err := balance(offers, g.Count)
	if err != nil {
		return nil, err
	}
	var lines []contract.PromptLine
	for k, offer := range offers {
		for range shares[k] {
			var p contract.PromptLine
			p, offer = generator.take(offer)
			lines = append(lines, p)
		}
	}
	generator.write(lines)
	return lines, nil
}

// Most is the largest count that relations (all six types if empty) and a split offer.
func Most(relations []string, split string) (int, error) {
	types, err := parseTypes(relations)
	if err != nil {
		return 0, err
	}
	generator := generator{}
	offers := make([][]contract.PromptLine, len(types))
	for k, t := range types {
		offers[k] = generator.offer(t, split)
	}
	return most(offers), nil
}

// most prompts of which no relation has two more than another.
func most(offers [][]contract.PromptLine) int {
	least := len(offers[0])
	for _, offer := range offers {
		least = min(least, len(offer))
	}
	sum := 0
	for _, offer := range offers {
		sum += min(len(offer), least+1)
	}
	return sum
}

func parseTypes(relations []string) ([]dsr.Type, error) {
	if len(relations) == 0 {
		return dsr.Types(), nil
	}
	var types []dsr.Type
	for _, text := range relations {
		t, err := dsr.ParseType(text)
		if err != nil {
			return nil, fmt.Errorf("relations: %w", err)
		}
		if slices.Contains(types, t) {
			return nil, fmt.Errorf("relations: %s is given twice", t)
		}
		types = append(types, t)
	}
	return types, nil
}

// balance shares a count out among the relations, as evenly as can be; those that offer more take the rest.
func balance(offers [][]contract.PromptLine, count int) ([]int, error) {
	if most := most(offers); count < 1 || count > most {
		return nil, fmt.Errorf("count %d is outside 1 to %d, which is what these relations and this split offer", count, most)
	}
	shares := make([]int, len(offers))
	rest := count % len(offers)
	for k, offer := range offers {
		shares[k] = count / len(offers)
		if rest > 0 && len(offer) > shares[k] {
			shares[k]++
			rest--
		}
	}
	return shares, nil
}

// generator draws by hash of its seed.
type generator struct {
	seed string
	used map[string]int // how often each noun was taken
}

// offer lists the prompts of a type and split, without scene and sentence, in the seed's order.
func (g *generator) offer(t dsr.Type, split string) []contract.PromptLine {
	var offer []contract.PromptLine
	for _, subject := range Animals() {
		for _, object := range Objects() {
			p := contract.PromptLine{PromptID: t.String() + "-" + subject + "-" + object, Type: t.String(), Subject: subject, Object: object}
			if split == "" || splitOf(&p) == split {
				offer = append(offer, p)
			}
		}
	}
	shuffle(offer, func(p contract.PromptLine) uint64 { return contract.Hash64("prompt-order", g.seed, p.PromptID) })
	return offer
}

// take removes the first prompt among those whose subject and object were taken least.
func (g *generator) take(offer []contract.PromptLine) (contract.PromptLine, []contract.PromptLine) {
	use := func(p *contract.PromptLine) int { return g.used[p.Subject] + g.used[p.Object] }
	best := 0
	for k := range offer {
		if use(&offer[k]) < use(&offer[best]) {
			best = k
		}
	}
	p := offer[best]
	g.used[p.Subject]++
	g.used[p.Object]++
	return p, slices.Delete(offer, best, best+1)
}

// write gives each prompt a scene, a verb and its sentence.
func (g *generator) write(lines []contract.PromptLine) {
	order := slices.Clone(scenes)
	shuffle(order, func(scene string) uint64 { return contract.Hash64("prompt-scene", g.seed, scene) })
	for k := range lines {
		p := &lines[k]
		p.Scene = order[k%len(order)]
		choices := verbs[p.Subject]
		verb := choices[contract.Hash64("prompt-verb", g.seed, p.PromptID)%uint64(len(choices))]
		p.Prompt = sentence(p, verb)
	}
}

func sentence(p *contract.PromptLine, verb string) string {
	return fmt.Sprintf("%s %s is %s %s, then the %s %s %s the %s.",
		p.Scene, withArticle(p.Subject), initialPhrase[p.Type[:1]], withArticle(p.Object),
		p.Subject, verb, finalPhrase[p.Type[1:]], p.Object)
}

var (
	initialPhrase = map[string]string{"L": "on the left of", "R": "on the right of", "T": "on the top of"}
	finalPhrase   = map[string]string{"L": "to the left of", "R": "to the right of", "T": "to the top of"}
)

// withArticle goes by the first letter, which is right for every word of the vocabulary.
func withArticle(noun string) string {
	switch noun[0] {
	case 'a', 'e', 'i', 'o', 'u':
		return "an " + noun
	default:
		return "a " + noun
	}
}

// shuffle orders by a hash of each element.
func shuffle[T any](elements []T, hash func(T) uint64) {
	type hashed struct {
		element T
		hash    uint64
	}
	order := make([]hashed, len(elements))
	for k, e := range elements {
		order[k] = hashed{e, hash(e)}
	}
	slices.SortStableFunc(order, func(a, b hashed) int { return cmp.Compare(a.hash, b.hash) })
	for k := range order {
		elements[k] = order[k].element
	}
}
