package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
)

var (
	digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	namePattern   = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,64}$`)
	devicePattern = regexp.MustCompile(`^[[:graph:]]([[:print:]]{0,62}[[:graph:]])?$`)
	metricPattern = regexp.MustCompile(`^-?[0-9]{1,12}(\.[0-9]{1,12})?(e[+-]?[0-9]{1,3})?$`)
)

// maxEntries bounds each map of a Termination and a Progress's metrics.
const maxEntries = 32

// MaxDevices is how many GPU models are told of one evaluation. More of them say no more than that they are several.
const MaxDevices = 4

// ParseTermination reads a container's last word. Its writer is not trusted: keys, digests and names
// must have their forms, unknown fields are refused.
func ParseTermination(data []byte) (*Termination, error) {
	if len(data) == 0 {
		return nil, errors.New("no termination message")
	}
	if len(data) > MaxTermination {
		return nil, fmt.Errorf("termination message has %d bytes, more than %d", len(data), MaxTermination)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var t Termination
	if err := dec.Decode(&t); err != nil {
		return nil, fmt.Errorf("termination message is not the contract's JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("termination message has text behind its JSON")
	}
	return &t, t.validate()
}

func (t *Termination) validate() error {
	if len(t.Outputs) > maxEntries || len(t.Counts) > maxEntries || len(t.Metrics) > maxEntries || len(t.Devices) > maxEntries {
		return fmt.Errorf("termination message has more than %d outputs, counts, metrics or devices", maxEntries)
	}
	if t.Manifest != nil {
		if err := t.Manifest.Valid(); err != nil {
			return fmt.Errorf("manifest: %w", err)
		}
	}
	for name, a := range t.Outputs {
		if !namePattern.MatchString(name) {
			return fmt.Errorf("output name %q is not of [A-Za-z0-9._/-]{1,64}", name)
		}
		if err := a.Valid(); err != nil {
			return fmt.Errorf("output %s: %w", name, err)
		}
	}
	for name, n := range t.Counts {
		if !namePattern.MatchString(name) || n < 0 {
			return fmt.Errorf("count %q is not a name with a number >= 0", name)
		}
	}
	for name, devices := range t.Devices {
		if !namePattern.MatchString(name) || len(devices) > MaxDevices || slices.ContainsFunc(devices, func(d string) bool { return !ValidDevice(d) }) {
			return fmt.Errorf("devices %q = %q are not a name with at most %d GPU models", name, devices, MaxDevices)
		}
	}
	return validMetrics(t.Metrics)
}

// ValidDevice says that a GPU model has the form that is told of one: 1 to 64 characters of ASCII, no blank around them.
func ValidDevice(device string) bool { return devicePattern.MatchString(device) }

func validMetrics(metrics map[string]string) error {
	for name, value := range metrics {
		if !namePattern.MatchString(name) || !metricPattern.MatchString(value) {
			return fmt.Errorf("metric %q = %q is not a name with a decimal", name, value)
		}
	}
	return nil
}

// Valid checks the form of a pinned artifact: key and digest.
func (a Artifact) Valid() error {
	if err := ValidKey(a.Key); err != nil {
		return err
	}
	if !digestPattern.MatchString(a.Digest) {
		return fmt.Errorf("digest %q is not sha256: and 64 hex digits", a.Digest)
	}
	return nil
}

// MaxProgress is the most that is read of a progress answer, in bytes.
const MaxProgress = 16 << 10

// maxItems bounds a Progress's total, so that adding shards up and taking percentages cannot overflow.
const maxItems = 1 << 40

// ParseProgress reads an answer of /progress. What is out of range is put into range: progress is for
// people, and losing some of it never fails a stage.
func ParseProgress(data []byte) (*Progress, error) {
	if len(data) > MaxProgress {
		return nil, fmt.Errorf("progress has more than %d bytes", MaxProgress)
	}
	var p Progress
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("progress is not JSON: %w", err)
	}
	p.Total = min(max(p.Total, 0), maxItems)
	p.Done = min(max(p.Done, 0), p.Total)
	p.ProgressPercentage = min(max(p.ProgressPercentage, 0), 100)
	p.EstimatedRemainingSeconds = min(max(p.EstimatedRemainingSeconds, 0), 1<<31)
	kept, seen := p.Metrics[:0], map[string]bool{}
	for _, m := range p.Metrics {
		if len(kept) < maxEntries/2 && !seen[m.Name] && namePattern.MatchString(m.Name) && metricPattern.MatchString(m.Value) {
			kept, seen[m.Name] = append(kept, m), true
		}
	}
	p.Metrics = kept
	return &p, nil
}
