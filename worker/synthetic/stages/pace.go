package stages

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// EnvPace is how many milliseconds to pause after each sample or training step, 0 to 60000, so that
// stages last long enough to be watched or interrupted. Default 0.
const EnvPace = "SYNTHETIC_PACE_MILLISECONDS"

// A Pacer pauses after a sample or step and returns early, with the context's error, when that ends.
type Pacer struct {
	// Milliseconds of each pause, as reports show it.
	Milliseconds int
	// Pause, when set, takes the place of waiting.
	Pause func(ctx context.Context) error
}

// ParsePace reads the value of EnvPace.
func ParsePace(value string) (Pacer, error) {
	if value == "" {
		return Pacer{}, nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > 60_000 {
		return Pacer{}, fmt.Errorf("%s is %q, want a whole number from 0 to 60000", EnvPace, value)
	}
	return Pacer{Milliseconds: n}, nil
}

func (p Pacer) wait(ctx context.Context) error {
	if p.Pause != nil {
		return p.Pause(ctx)
	}
	if p.Milliseconds > 0 {
		timer := time.NewTimer(time.Duration(p.Milliseconds) * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}
