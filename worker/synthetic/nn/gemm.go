// Package nn holds the few layers of the synthetic model: linear maps, low-rank adapters, one
// activation and Adam, over gonum's single-precision matrix product.
//
// Matrices are row-major slices. A call works on a chunk of at most MaxRows rows; more rows are
// more chunks. That keeps every product in gonum's serial path, where each output row is summed in
// one fixed order: results depend neither on the number of processors nor on which rows share a chunk.
package nn

import (
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

// MaxRows is the largest number of rows of a chunk.
const MaxRows = 64

// panel is the widest product that gonum computes serially with MaxRows rows (fewer than four
// blocks of 64 x 64); depth is how many rows of the right factor fit the first-level cache with it.
const (
	panel = 192
	depth = 32
)

var kernel gonum.Implementation

// mulAdd adds alpha·x·w to y: x is rows x in, w in x out.
func mulAdd(y, x, w []float32, rows, in, out int, alpha float32) {
	for j := 0; j < out; j += panel {
		n := min(panel, out-j)
		for k := 0; k < in; k += depth {
			d := min(depth, in-k)
			kernel.Sgemm(blas.NoTrans, blas.NoTrans, rows, n, d, alpha, x[k:], in, w[k*out+j:], out, 1, y[j:], out)
		}
	}
}

// mulAddTransposed adds alpha·dy·wᵀ to dx: dy is rows x out, w in x out.
func mulAddTransposed(dx, dy, w []float32, rows, in, out int, alpha float32) {
	for i := 0; i < in; i += depth {
		n := min(depth, in-i)
		kernel.Sgemm(blas.NoTrans, blas.Trans, rows, n, out, alpha, dy, out, w[i*out:], out, 1, dx[i:], in)
	}
}

// mulAddGradient adds alpha·xᵀ·dy to dw: x is rows x in, dy rows x out.
func mulAddGradient(dw, x, dy []float32, rows, in, out int, alpha float32) {
	for i := 0; i < in; i += depth {
		n := min(depth, in-i)
		for j := 0; j < out; j += panel {
			m := min(panel, out-j)
			kernel.Sgemm(blas.Trans, blas.NoTrans, n, m, rows, alpha, x[i:], in, dy[j:], out, 1, dw[i*out+j:], out)
		}
	}
}
