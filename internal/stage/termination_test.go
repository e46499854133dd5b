package stage

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/spatialalign/operator/internal/contract"
)

// TestTerminationFits: whatever a message holds, the termination is valid, within its limit, and
// keeps as much of the message's beginning as fits.
func TestTerminationFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		message := strings.Repeat(rapid.String().Draw(t, "part"), rapid.IntRange(1, 3000).Draw(t, "times"))
		data, err := encodeTermination(&contract.Termination{Class: "Bug", Message: message})
		if err != nil {
			t.Fatal(err)
		}
		got, err := contract.ParseTermination(data)
		if err != nil {
			t.Fatal(err)
		}
		kept := strings.TrimSuffix(got.Message, " ... (the rest is in the log)")
		// Invalid UTF-8 cannot be kept in JSON.
		if !strings.HasPrefix(strings.ToValidUTF8(message, "\ufffd"), kept) && strings.ToValidUTF8(message, "") == message {
			t.Fatalf("kept %q of %q", kept, message)
		}
		if kept != got.Message && len(data) < contract.MaxTermination-6*64-utf8Slack {
			t.Fatalf("cut to %d bytes although %d are allowed", len(data), contract.MaxTermination)
		}
	})
}

// utf8Slack is what cutting at a whole character may cost.
const utf8Slack = 6 * 4

// TestTerminationTooLarge: results that do not fit are a bug of the stage, said in a termination that does.
func TestTerminationTooLarge(t *testing.T) {
	metrics := map[string]string{}
	for i := range 400 {
		metrics[fmt.Sprint("metric/", i)] = "0.5"
	}
	data, err := encodeTermination(&contract.Termination{Class: "Succeeded", Metrics: metrics})
	if err == nil {
		t.Fatal("no error")
	}
	got, err := contract.ParseTermination(data)
	if err != nil || got.Class != "Bug" || !strings.Contains(got.Message, "a termination message has 4096") {
		t.Errorf("%s, %v", data, err)
	}
}

// TestDecimal: every finite metric is a decimal that the contract accepts.
func TestDecimal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.Float64().Filter(func(x float64) bool { return !math.IsInf(x, 0) && !math.IsNaN(x) }).Draw(t, "value")
		data, err := encodeTermination(&contract.Termination{Class: "Succeeded", Metrics: map[string]string{"x": decimal(value)}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := contract.ParseTermination(data); err != nil {
			t.Fatalf("%v: %v", value, err)
		}
	})
}
