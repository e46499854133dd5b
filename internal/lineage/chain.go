package lineage

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
)

// MaxRecord bounds a record, in bytes: it fits into a stage's spec.
const MaxRecord = 256 << 10

// Encode gives the record's canonical bytes: the same record always encodes the same.
func Encode(record *contract.LineageRecord) ([]byte, error) {
	data, err := json.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("lineage record: %w", err)
	}
	return data, nil
}

// Read the record that an artifact holds.
func Read(ctx context.Context, store *artifact.Store, a contract.Artifact) (*contract.LineageRecord, error) {
	data, err := store.ReadVerified(ctx, a, MaxRecord)
	if err != nil {
		return nil, err
	}
	record := &contract.LineageRecord{}
	if err := artifact.DecodeStrict(data, record); err != nil {
		return nil, &artifact.Error{Kind: artifact.Corrupt, Op: "read", Key: a.Key, Err: fmt.Errorf("not a lineage record: %w", err)}
	}
	if record.ContractVersion != contract.Version {
		return nil, &artifact.Error{Kind: artifact.Corrupt, Op: "read", Key: a.Key, Err: fmt.Errorf("contractVersion is %q, this program knows %s", record.ContractVersion, contract.Version)}
	}
	return record, nil
}

// Link is a record of a chain, and where it stands.
type Link struct {
	Artifact contract.Artifact       `json:"artifact"`
	Record   *contract.LineageRecord `json:"record"`
}

// maxLinks of a chain: a run has at most 10,000 iterations, and may follow on another one.
const maxLinks = 20_000

// Chain reads a record and all that came before it, newest first. Beside an error it gives the links read
// until then.
func Chain(ctx context.Context, store *artifact.Store, newest contract.Artifact) ([]Link, error) {
	chain := []Link{}
	for next := &newest; next != nil; next = chain[len(chain)-1].Record.Previous {
		if len(chain) == maxLinks {
			return chain, &artifact.Error{Kind: artifact.Corrupt, Op: "read", Key: next.Key, Err: fmt.Errorf("the chain has more than %d records", maxLinks)}
		}
		record, err := Read(ctx, store, *next)
		if err != nil {
			return chain, err
		}
		chain = append(chain, Link{Artifact: *next, Record: record})
	}
	return chain, nil
}

// Question names the newest record of a chain.
type Question struct {
	Newest contract.Artifact `json:"newest"`
}

// Result is a chain, newest first. Problem says why it ends before the first record.
type Result struct {
	Chain   []Link `json:"chain"`
	Problem string `json:"problem,omitempty"`
}

// Run reads a chain. A record that is missing or damaged ends it; that the store refuses is an error.
func Run(ctx context.Context, store *artifact.Store, q Question) (*Result, error) {
	chain, err := Chain(ctx, store, q.Newest)
	if err != nil && !artifact.IsMissing(err) && !artifact.IsCorrupt(err) {
		return nil, err
	}
	r := &Result{Chain: chain}
	if err != nil {
		r.Problem = err.Error()
	}
	return r, nil
}

// Answer is the errand "lineage": the question is a Question, the answer a Result.
func Answer(ctx context.Context, store *artifact.Store, question []byte, _ func(string, ...any)) ([]byte, error) {
	var q Question
	if err := artifact.DecodeStrict(question, &q); err != nil {
		return nil, fmt.Errorf("question: %w", err)
	}
	result, err := Run(ctx, store, q)
	if err != nil {
		return nil, err
	}
	return json.Marshal(result)
}
