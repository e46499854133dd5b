package artifact

import (
	"context"
	"errors"
	"fmt"

	"gocloud.dev/gcerrors"

	"github.com/spatialalign/operator/internal/contract"
)

// Kind says what an Error means to a stage.
type Kind int

const (
	// Storage means that the store or the network refused, or failed half-way.
	Storage Kind = iota
	// Missing means that the store has no such file.
	Missing
	// Corrupt means that the file is there, but is not what its digest, size or format promises.
	Corrupt
	// Misnamed means that the key or the store's URL is not a valid one.
	Misnamed
)

// Error is what every function of this package returns.
type Error struct {
	Kind Kind
	// Op is what was tried ("read", "write", ...); Key is the artifact, empty for the store itself.
	Op, Key string
	Err     error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("%s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("%s %s: %v", e.Op, e.Key, e.Err)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// ExitCode is what a stage exits with that cannot go on because of the error.
func (e *Error) ExitCode() contract.ExitCode {
	switch e.Kind {
	case Missing, Corrupt:
		return contract.ExitBadInput
	case Misnamed:
		return contract.ExitBadSpec
	default:
		return contract.ExitStorage
	}
}

// IsMissing reports whether an error says that the store has no such file.
func IsMissing(err error) bool { return isKind(err, Missing) }

// IsCorrupt reports whether an error says that a file is not what was promised.
func IsCorrupt(err error) bool { return isKind(err, Corrupt) }

func isKind(err error, kind Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == kind
}

func corrupt(op, key, format string, args ...any) error {
	return &Error{Kind: Corrupt, Op: op, Key: key, Err: fmt.Errorf(format, args...)}
}

// wrap types an error of the bucket. A cancelled context stays recognisable with errors.Is.
func wrap(ctx context.Context, op, key string, err error) error {
	kind := Storage
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		if !isCode(err, "NoSuchBucket") {
			kind = Missing
		}
	case gcerrors.InvalidArgument:
		kind = Corrupt
	}
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return &Error{Kind: kind, Op: op, Key: key, Err: err}
}

func checkKey(op, key string) error {
	if err := contract.ValidKey(key); err != nil {
		return &Error{Kind: Misnamed, Op: op, Err: err}
	}
	return nil
}

// isConflict reports whether S3 refused a conditional write because another one was under way.
func isConflict(err error) bool { return isCode(err, "ConditionalRequestConflict") }

// isCode reports whether S3 answered with an error code.
func isCode(err error, code string) bool {
	var api interface{ ErrorCode() string }
	return errors.As(err, &api) && api.ErrorCode() == code
}
