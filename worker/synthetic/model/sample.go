package model

import (
	"runtime"
	"sync"

	"github.com/spatialalign/operator/worker/synthetic/draw"
	"github.com/spatialalign/operator/worker/synthetic/nn"
	"github.com/spatialalign/operator/worker/synthetic/scene"
)

// Request is a sample to generate.
type Request struct {
	Text Text
	Seed uint64
}

// Generate gives one latent per request: the flow integrated from the noise that the seed stands
// for (sigma 1) to data (sigma 0) in equal Euler steps. It uses all processors; each latent depends
// on its own request alone, bit for bit. adapter may be nil.
func (w *Weights) Generate(adapter *Adapter, requests []Request, steps int) [][]float32 {
	latents := make([][]float32, len(requests))
	rank := 0
	if adapter != nil {
		rank = adapter.Rank
	}
	// Chunks small enough that every processor gets one; their size changes no bit.
	size := min(nn.MaxRows, max(1, (len(requests)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0)))
	var next int
	var lock sync.Mutex
	take := func() (int, int) {
		lock.Lock()
		defer lock.Unlock()
		from := next
		next = min(len(requests), from+size)
		return from, next
	}
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			pass := NewPass(w.Text1.In, rank)
			for from, to := take(); from < to; from, to = take() {
				w.generate(pass, adapter, requests[from:to], steps)
				for r := range to - from {
					latents[from+r] = append([]float32(nil), pass.Row(r)...)
				}
			}
		})
	}
	wait.Wait()
	return latents
}

func (w *Weights) generate(p *Pass, adapter *Adapter, requests []Request, steps int) {
	p.Rows = len(requests)
	for r, request := range requests {
		source := draw.New(draw.InitialNoise, request.Seed)
		source.Normals(p.Row(r))
		p.Text[r] = request.Text
	}
	for s := range steps {
		sigma, next := 1-float32(s)/float32(steps), 1-float32(s+1)/float32(steps)
		for r := range p.Rows {
			p.Sigma[r] = sigma
		}
		w.Forward(p, adapter)
		for i := range p.X[:p.Rows*scene.LatentSize] {
			p.X[i] += (next - sigma) * p.V[i]
		}
	}
}

// Row is row r of p.X.
func (p *Pass) Row(r int) []float32 { return p.X[r*scene.LatentSize : (r+1)*scene.LatentSize] }
