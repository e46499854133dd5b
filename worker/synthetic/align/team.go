package align

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Team is several trainers that take each step together, each with its share of the step's chunks: see package gang.
type Team interface {
	Rank() int
	Size() int
	// Gather gives everybody's data by rank on rank 0, and nothing elsewhere.
	Gather(own []byte) ([][]byte, error)
	// Broadcast gives everybody the data of rank 0.
	Broadcast(data []byte) ([]byte, error)
}

// mine says whether chunk i is this trainer's to compute.
func (t *Trainer) mine(i int) bool {
	return t.options.Team == nil || i%t.options.Team.Size() == t.options.Team.Rank()
}

// total of all chunks: the gradient, in the first chunk's place, and the terms. The first of a team adds up, in the order of
// the chunks, so that the sum does not depend on who computed what.
func (t *Trainer) total() (Terms, error) {
	team := t.options.Team
	if team == nil {
		return t.add(), nil
	}
	var own bytes.Buffer
	for i, c := range t.chunks {
		if t.mine(i) {
			c.write(&own)
		}
	}
	all, err := team.Gather(own.Bytes())
	if err != nil {
		return Terms{}, err
	}
	var sum bytes.Buffer
	if team.Rank() == 0 {
		for i, c := range t.chunks {
			if rank := i % team.Size(); rank > 0 {
				if all[rank], err = c.read(all[rank]); err != nil {
					return Terms{}, fmt.Errorf("chunk %d of rank %d: %w", i, rank, err)
				}
			}
		}
		t.chunks[0].sum = t.add()
		t.chunks[0].write(&sum)
	}
	answer, err := team.Broadcast(sum.Bytes())
	if err != nil {
		return Terms{}, err
	}
	if _, err := t.chunks[0].read(answer); err != nil {
		return Terms{}, fmt.Errorf("the sum of all chunks: %w", err)
	}
	return t.chunks[0].sum, nil
}

// add up all chunks.
func (t *Trainer) add() Terms {
	var terms Terms
	total := t.chunks[0].gradient.Slices()
	for i, c := range t.chunks {
		if i > 0 {
			for j, g := range c.gradient.Slices() {
				for k, v := range g {
					total[j][k] += v
				}
			}
		}
		terms.Loss += c.sum.Loss / float64(t.options.PairsPerStep)
		terms.Margin += c.sum.Margin / float64(t.options.PairsPerStep)
		terms.Regularizer += c.sum.Regularizer / float64(t.options.PairsPerStep)
	}
	return terms
}

// write what a chunk came to. Nothing of it can fail.
func (c *chunk) write(to *bytes.Buffer) {
	for _, g := range c.gradient.Slices() {
		_ = binary.Write(to, binary.LittleEndian, g)
	}
	_ = binary.Write(to, binary.LittleEndian, c.sum)
}

// read what another has written, and give what follows.
func (c *chunk) read(data []byte) (rest []byte, err error) {
	from := bytes.NewReader(data)
	for _, g := range c.gradient.Slices() {
		if err := binary.Read(from, binary.LittleEndian, g); err != nil {
			return nil, err
		}
	}
	if err := binary.Read(from, binary.LittleEndian, &c.sum); err != nil {
		return nil, err
	}
	return data[len(data)-from.Len():], nil
}
