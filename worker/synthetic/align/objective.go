// Package align fine-tunes a LoRA on preference pairs with zeroth-order-regularized DPO
// (SpatialAlign, arXiv 2602.22745).
package align

import "math"

// Views are a model's outputs, or the targets, for the noised winner and loser of one pair.
type Views struct{ Winner, Loser []float32 }

// Terms of the loss of one pair, or their means over the pairs of a step.
type Terms struct{ Loss, Margin, Regularizer float64 }

// Objective is the loss of one pair. It sets grad to the gradient with respect to policy.
type Objective func(grad, policy, reference, target Views) Terms

// ZODPO is the method's loss. With mean squared errors over all latent elements,
//
//	s(x)   = mse(reference, target) - mse(policy, target)
//	margin = clip(beta·(s(winner) - s(loser)), -clip, clip)
//	loss   = -log sigmoid(margin) + lambda·reg
//	reg    = (mse(policy, reference) of the winner + that of the loser) / 2
//
// Beyond the clip the first term has no gradient. reg is the zeroth-order regularizer: it holds the
// policy's output itself to the reference's.
func ZODPO(beta, lambda, clip float64) Objective {
	return func(grad, policy, reference, target Views) Terms {
		raw := beta * (advantage(policy.Winner, reference.Winner, target.Winner) -
			advantage(policy.Loser, reference.Loser, target.Loser))
		margin := max(-clip, min(clip, raw))
		reg := (meanSquare(policy.Winner, reference.Winner) + meanSquare(policy.Loser, reference.Loser)) / 2
		pull := 0.0
		if raw == margin {
			pull = beta / (1 + math.Exp(margin))
		}
		blend(grad.Winner, policy.Winner, target.Winner, reference.Winner, pull, lambda/2)
		blend(grad.Loser, policy.Loser, target.Loser, reference.Loser, -pull, lambda/2)
		return Terms{Loss: math.Log1p(math.Exp(-margin)) + lambda*reg, Margin: margin, Regularizer: reg}
	}
}

// advantage is s(x).
func advantage(policy, reference, target []float32) float64 {
	return meanSquare(reference, target) - meanSquare(policy, target)
}

// blend sets grad to that of a·mse(v, target) + b·mse(v, reference).
func blend(grad, v, target, reference []float32, a, b float64) {
	n := float64(len(v))
	toTarget, toReference := float32(2*a/n), float32(2*b/n)
	for i := range grad {
		grad[i] = toTarget*(v[i]-target[i]) + toReference*(v[i]-reference[i])
	}
}

func meanSquare(x, y []float32) float64 {
	var sum float64
	for i, v := range x {
		d := float64(v - y[i])
		sum += d * d
	}
	return sum / float64(len(x))
}
