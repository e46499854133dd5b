package crd

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// with returns a copy with a value at a path such as spec.prompts.train.
func with(t *testing.T, o *unstructured.Unstructured, path string, value any) *unstructured.Unstructured {
	t.Helper()
	result := o.DeepCopy()
	if err := unstructured.SetNestedField(result.Object, value, strings.Split(path, ".")...); err != nil {
		t.Fatal(err)
	}
	return result
}

func without(o *unstructured.Unstructured, path string) *unstructured.Unstructured {
	result := o.DeepCopy()
	unstructured.RemoveNestedField(result.Object, strings.Split(path, ".")...)
	return result
}

func answer(o *unstructured.Unstructured) error {
	return server.Create(context.Background(), o, strict...)
}

// bound is a whole number's range; math.MaxInt64 stands for none.
type bound struct {
	path     string
	min, max int64
}

func testBounds(t *testing.T, base *unstructured.Unstructured, bounds []bound) {
	t.Helper()
	for _, b := range bounds {
		t.Run(b.path, func(t *testing.T) {
			check(t, answer(with(t, base, b.path, b.min)), "")
			check(t, answer(with(t, base, b.path, b.max)), "")
			check(t, answer(with(t, base, b.path, b.min-1)), fmt.Sprintf("%s in body should be greater than or equal to %d", b.path, b.min))
			if b.max < math.MaxInt64 {
				check(t, answer(with(t, base, b.path, b.max+1)), fmt.Sprintf("%s in body should be less than or equal to %d", b.path, b.max))
			}
			check(t, answer(with(t, base, b.path, "many")), b.path)
		})
	}
}

// testValues tries values of a field, all of which are accepted, and others, all of which are refused with a message
// that names the field.
func testValues(t *testing.T, base *unstructured.Unstructured, path string, accepted, refused []any) {
	t.Helper()
	t.Run(path, func(t *testing.T) {
		for _, value := range accepted {
			if err := answer(with(t, base, path, value)); err != nil {
				t.Errorf("%v is refused: %v", value, err)
			}
		}
		for _, value := range refused {
			if err := answer(with(t, base, path, value)); err == nil {
				t.Errorf("%v is accepted", value)
			} else if !strings.Contains(err.Error(), path) {
				t.Errorf("%v is refused without naming %s: %v", value, path, err)
			}
		}
	})
}

func testRequired(t *testing.T, base *unstructured.Unstructured, paths ...string) {
	t.Helper()
	for _, path := range paths {
		t.Run("without "+path, func(t *testing.T) {
			check(t, answer(without(base, path)), path+": Required value")
		})
	}
}

// long is a string of n letters.
func long(n int) string { return strings.Repeat("a", n) }

var (
	fractions   = []any{"0", "0.7", "0.000001", "1", "1.0", "1.000000"}
	noFractions = []any{"", "1.1", "1.000001", "2", "-0.1", ".5", "0.", "0,7", "1e-1", "0.1234567", "70%", 0.7, int64(1)}
	decimals    = []any{"1", "0.5", "0.001", "0.000000001", "000001"}
	noDecimals  = []any{"", "-1", "+1", "1e-4", ".5", "1.", "0.0000000001", "1234567", "NaN", "Inf", 0.5}
	keys        = []any{"a.jsonl", "runs/a-b_c/1.2/x.jsonl", ".hidden/..x.jsonl", "..a/x.jsonl", long(506) + ".jsonl"}
	noKeys      = []any{"", "/etc/x.jsonl", "../x.jsonl", "a/../x.jsonl", "a/./x.jsonl", "a//x.jsonl", "a/x.jsonl/", "a/..", ".", "..", "s3://bucket/x.jsonl", "file:///x.jsonl", "a%2e%2e/x.jsonl", "a\x00.jsonl", `a\b.jsonl`, "a b.jsonl", "ä.jsonl", long(507) + ".jsonl"}
	digests     = []any{"sha256:" + strings.Repeat("0a", 32)}
	noDigests   = []any{"", "sha256:", "sha256:" + strings.Repeat("0A", 32), "sha256:" + strings.Repeat("0", 63), "sha256:" + strings.Repeat("0", 65), "md5:" + strings.Repeat("0", 64), strings.Repeat("0", 64)}
	// labels are names of at most 63 characters without dots, as of our own kinds and of queues.
	labels       = []any{"a", "0", "a-b", long(63)}
	noLabels     = []any{"", "Name", "a.b", "a_b", "-a", "a-", "a/b", long(64)}
	noChoices    = []any{"", "Other", "none", int64(1)}
	subdomains   = []any{"a", "wan2.1", "a-b.c", long(253)}
	noSubdomains = []any{"", "Synthetic", "a_b", "-a", "a-", ".a", "a/b", long(254)}
)

// testNames is about metadata.name, which becomes a label's value and a part of the children's names.
func testNames(t *testing.T, base *unstructured.Unstructured) {
	t.Helper()
	t.Run("metadata.name", func(t *testing.T) {
		for _, name := range []string{"a", "0", "first-run", "1-2", long(63)} {
			check(t, answer(with(t, base, "metadata.name", name)), "")
		}
		for _, name := range []string{long(64), long(253), "a.b", "wan2.1-run"} {
			check(t, answer(with(t, base, "metadata.name", name)), "metadata.name must be a DNS label of at most 63 characters")
		}
		generated := without(base, "metadata.name")
		generated.SetGenerateName("run-")
		check(t, answer(generated), "")
	})
}
