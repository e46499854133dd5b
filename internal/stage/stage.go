// Package stage is the harness of every stage program: it turns a function that does one stage's
// work into a container that honours the stage contract (docs/contract.md).
//
// The harness parses the call, checks the spec, opens the store, adopts the manifest of an earlier
// attempt when there is one, and otherwise runs the function; it serves progress, metrics and health,
// commits the manifest last, and ends with the termination message and exit code of the outcome.
//
//	func main() {
//		stage.Main(version, map[contract.Stage]stage.Func{contract.Train: train})
//	}
package stage

import (
	"context"
	"errors"
	"fmt"

	"github.com/spatialalign/operator/internal/contract"
)

// Func does one stage's work (one shard of it). It reads the spec's block of its own stage, reports
// what it does through the Task, and returns nil when everything the spec asks for is in the store.
// When ctx ends (SIGTERM) it saves what it can and returns an error that wraps ErrInterrupted.
type Func func(ctx context.Context, t *Task) error

// ErrInterrupted says that a stage stopped because it was told to and that its progress is saved:
// the next attempt continues from there.
var ErrInterrupted = errors.New("interrupted, progress is saved")

// Error is an error with the exit code that it means.
type Error struct {
	Code contract.ExitCode
	Err  error
}

// Errorf makes an Error. Use %w for the cause, as with fmt.Errorf.
func Errorf(code contract.ExitCode, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// ExitCode is Code.
func (e *Error) ExitCode() contract.ExitCode { return e.Code }

// exitCode classifies what a Func returned: the outermost error that names a code decides, an
// interruption comes first, and what nobody classified is a bug.
func exitCode(ctx context.Context, err error) contract.ExitCode {
	var coded interface {
		error
		ExitCode() contract.ExitCode
	}
	switch {
	case err == nil:
		return contract.ExitDone
	case errors.Is(err, ErrInterrupted):
		return contract.ExitCheckpointed
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return contract.ExitSIGTERM
	case errors.As(err, &coded):
		return coded.ExitCode()
	default:
		return contract.ExitBug
	}
}
