package nn

import "math"

// Adam is AdamW's update with the usual constants (0.9, 0.999, 1e-8) and no weight decay.
type Adam struct {
	Step int
	M, V []float32 // first and second moments, as long as the parameters
}

// NewAdam has zero moments for n parameters.
func NewAdam(n int) *Adam { return &Adam{M: make([]float32, n), V: make([]float32, n)} }

// Update moves the parameters against the gradient. Both are lists of slices whose lengths add up
// to the optimizer's, always in the same order.
func (a *Adam) Update(params, grads [][]float32, rate float64) {
	const beta1, beta2, epsilon = 0.9, 0.999, 1e-8
	a.Step++
	size := float32(rate / (1 - math.Pow(beta1, float64(a.Step))))
	correct := float32(1 / (1 - math.Pow(beta2, float64(a.Step))))
	at := 0
	for i, p := range params {
		m, v := a.M[at:at+len(p)], a.V[at:at+len(p)]
		at += len(p)
		for j, g := range grads[i] {
			m[j] = beta1*m[j] + (1-beta1)*g
			v[j] = beta2*v[j] + (1-beta2)*g*g
			p[j] -= size * m[j] / (float32(math.Sqrt(float64(v[j]*correct))) + epsilon)
		}
	}
}

// Norm is the Euclidean length of all gradients together.
func Norm(grads [][]float32) float64 {
	var sum float64
	for _, g := range grads {
		for _, v := range g {
			sum += float64(v) * float64(v)
		}
	}
	return math.Sqrt(sum)
}

// Scale multiplies all gradients.
func Scale(grads [][]float32, by float32) {
	for _, g := range grads {
		for i := range g {
			g[i] *= by
		}
	}
}

// Cosine is the learning rate of step (from 0) out of steps: linear warm-up (0: none) that starts at 0, then
// a half cosine from peak down to a tenth of it at the end, where it stays.
func Cosine(peak float64, step, warmup, steps int) float64 {
	if step < warmup {
		return peak * float64(step) / float64(warmup)
	}
	done := float64(step-warmup) / float64(max(1, steps-warmup))
	return peak * (0.1 + 0.9*(1+math.Cos(math.Pi*min(1, done)))/2)
}

// Finite reports whether no value is NaN or infinite.
func Finite(x []float32) bool {
	for _, v := range x {
		if v-v != 0 {
			return false
		}
	}
	return true
}
