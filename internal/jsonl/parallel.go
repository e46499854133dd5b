package jsonl

import (
	"context"
	"errors"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Parallel works on the chunks of r in several goroutines and hands the results to emit in the order
// of the file, so that neither the results nor the first error depend on timing. newWorker is called
// once per goroutine; what its function returns must not refer to the chunk, whose memory is reused.
// Reading, and so decompression, has a goroutine of its own; emit runs in the caller's. Memory is
// bounded by a few chunks per worker.
func Parallel[T any](ctx context.Context, r io.Reader, name string, workers int,
	newWorker func() func(Chunk) (T, error), emit func(T) error,
) error {
	type result struct {
		value T
		err   error
	}
	type job struct {
		chunk  Chunk
		result chan result
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	work := make(chan job)
	ordered := make(chan job, 2*workers)
	buffers := sync.Pool{New: func() any { return new([]byte) }}

	group.Go(func() error {
		defer close(ordered)
		defer close(work)
		chunks := newChunkReader(r, name)
		for {
			chunk, err := chunks.next(*buffers.Get().(*[]byte))
			if errors.Is(err, io.EOF) {
				return nil
			}
			j := job{chunk: chunk, result: make(chan result, 1)}
			if err != nil { // takes its place in the order, after the errors of earlier lines
				j.result <- result{err: err}
			}
			select {
			case ordered <- j:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err != nil {
				return nil
			}
			select {
			case work <- j:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	for range workers {
		group.Go(func() error {
			run := newWorker()
			for j := range work {
				value, err := run(j.chunk)
				buffers.Put(&j.chunk.data)
				j.result <- result{value, err}
			}
			return nil
		})
	}
	collect := func() error {
		for j := range ordered {
			select {
			case r := <-j.result:
				if r.err != nil {
					return r.err
				}
				if err := emit(r.value); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}
	err := collect()
	if err != nil {
		cancel()
	}
	if waited := group.Wait(); err == nil {
		err = waited
	}
	return err
}
