package report

import (
	"bytes"
	"context"
	"fmt"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
)

// Answer is the errand "report": the question is a Plan, the answer a bundle.
func Answer(ctx context.Context, store *artifact.Store, question []byte, _ func(string, ...any)) ([]byte, error) {
	var plan Plan
	if err := artifact.DecodeStrict(question, &plan); err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	bundle, err := Gather(ctx, store, plan)
	if err != nil {
		return nil, err
	}
	var encoded bytes.Buffer
	if err := bundle.Write(&encoded); err != nil {
		return nil, err
	}
	return encoded.Bytes(), nil
}

func gatherFrom(ctx context.Context, storeURL string, plan Plan) (*Bundle, error) {
	if storeURL == "" {
		return nil, fmt.Errorf("no store: set %s or --store", contract.EnvStore)
	}
	store, err := artifact.OpenExisting(ctx, storeURL)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	return Gather(ctx, store, plan)
}
