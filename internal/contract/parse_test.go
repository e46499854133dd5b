package contract_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/spatialalign/operator/internal/contract"
)

var digest = contract.Digest([]byte("x"))

func TestParseTermination(t *testing.T) {
	manifest := fmt.Sprintf(`{"key":"runs/u/manifest.json","digest":%q}`, digest)
	many := make([]string, 33)
	for i := range many {
		many[i] = fmt.Sprintf(`"c%d":1`, i)
	}
	tests := []struct {
		name, text string
		// complaint is part of the error; empty where the text is good.
		complaint string
	}{
		{"success", `{"class":"Succeeded","manifest":` + manifest + `,"outputs":{"index/train":` + manifest + `},"counts":{"train/missing":0},"metrics":{"loss":"0.61","tiny":"-1.5e-12"}}`, ""},
		{"a comparison", `{"class":"Succeeded","devices":{"best":["NVIDIA A100-SXM4-40GB","cpu"],"candidate":[]}}`, ""},
		{"failure", `{"class":"BadSpec","message":"prompts.csv:3: no column type"}`, ""},
		{"spaces around", " {\"class\":\"Bug\"}\n", ""},

		{"nothing", "", "no termination message"},
		{"a log line", "panic: index out of range", "not the contract's JSON"},
		{"cut off", `{"class":"Succeeded","manifest":{"key":"a`, "not the contract's JSON"},
		{"another type", `["Succeeded"]`, "not the contract's JSON"},
		{"unknown field", `{"class":"Succeeded","videos":3}`, "videos"},
		{"text behind", `{"class":"Succeeded"}{}`, "behind its JSON"},
		{"too long", `{"class":"` + strings.Repeat("x", contract.MaxTermination) + `"}`, "more than 4096"},
		{"key that leaves the root", `{"class":"Succeeded","manifest":{"key":"../m.json","digest":"` + digest + `"}}`, "no path element"},
		{"manifest without digest", `{"class":"Succeeded","manifest":{"key":"m.json"}}`, "64 hex digits"},
		{"digest in capitals", `{"class":"Succeeded","manifest":{"key":"m.json","digest":"` + strings.ToUpper(digest) + `"}}`, "64 hex digits"},
		{"output name", `{"class":"Succeeded","outputs":{"a b":` + manifest + `}}`, "output name"},
		{"output key", `{"class":"Succeeded","outputs":{"a":{"key":"/a","digest":"` + digest + `"}}}`, "output a"},
		{"negative count", `{"class":"Succeeded","counts":{"pairs":-1}}`, "pairs"},
		{"fractional count", `{"class":"Succeeded","counts":{"pairs":1.5}}`, "not the contract's JSON"},
		{"too many counts", `{"class":"Succeeded","counts":{` + strings.Join(many, ",") + `}}`, "more than 32"},
		{"too many devices", `{"class":"Succeeded","devices":{"best":["a","b","c","d","e"]}}`, "at most 4 GPU models"},
		{"too many lists of devices", `{"class":"Succeeded","devices":{` + strings.ReplaceAll(strings.Join(many, ","), ":1", ":[]") + `}}`, "more than 32"},
		{"device of nothing", `{"class":"Succeeded","devices":{"best":[""]}}`, "devices"},
		{"device too long", `{"class":"Succeeded","devices":{"best":["` + strings.Repeat("x", 65) + `"]}}`, "devices"},
		{"device with a line break", `{"class":"Succeeded","devices":{"best":["a\nb"]}}`, "devices"},
		{"device behind a blank", `{"class":"Succeeded","devices":{"best":[" a"]}}`, "devices"},
		{"device of no name", `{"class":"Succeeded","devices":{"a b":["x"]}}`, "devices"},
		{"metric that is no number", `{"class":"Succeeded","metrics":{"loss":"NaN"}}`, "loss"},
		{"metric beyond bounds", `{"class":"Succeeded","metrics":{"loss":"` + strings.Repeat("9", 40) + `"}}`, "loss"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := contract.ParseTermination([]byte(tt.text))
			switch {
			case tt.complaint == "" && err != nil:
				t.Errorf("is refused: %v", err)
			case tt.complaint != "" && (err == nil || !strings.Contains(err.Error(), tt.complaint)):
				t.Errorf("gives %+v, %v; want an error with %q", got, err, tt.complaint)
			}
		})
	}
}

// FuzzParseTermination: what passes has its forms, and is the same when it is written and read again.
func FuzzParseTermination(f *testing.F) {
	f.Add([]byte(`{"class":"Succeeded","manifest":{"key":"a/b","digest":"` + digest + `"},"counts":{"a":1},"metrics":{"b":"1e3"}}`))
	f.Add([]byte(`{"class":"Bug","message":"x"}`))
	f.Add([]byte(`{"outputs":{"../x":{"key":"..","digest":""}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := contract.ParseTermination(data)
		if err != nil {
			return
		}
		if first.Manifest != nil && (contract.ValidKey(first.Manifest.Key) != nil || len(first.Manifest.Digest) != len(digest)) {
			t.Fatalf("an invalid manifest passes: %+v", first.Manifest)
		}
		for name, a := range first.Outputs {
			if name == "" || contract.ValidKey(a.Key) != nil {
				t.Fatalf("an invalid output passes: %q %+v", name, a)
			}
		}
		again, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) > contract.MaxTermination {
			return // escapes made it longer
		}
		second, err := contract.ParseTermination(again)
		if err != nil {
			t.Fatalf("does not pass again: %v", err)
		}
		if diff := cmp.Diff(first, second, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("reads differently the second time: %s", diff)
		}
	})
}

func TestParseProgress(t *testing.T) {
	metrics := make([]string, 40)
	for i := range metrics {
		metrics[i] = fmt.Sprintf(`{"name":"m%d","value":"1"}`, i)
	}
	tests := []struct {
		name, text string
		want       contract.Progress
	}{
		{"as it should be", `{"done":3,"total":4,"unit":"samples","progressPercentage":75,"estimatedRemainingSeconds":9,"lastCheckpointTime":"2026-01-01T00:00:00Z"}`,
			contract.Progress{Done: 3, Total: 4, Unit: "samples", ProgressPercentage: 75, EstimatedRemainingSeconds: 9, LastCheckpointTime: "2026-01-01T00:00:00Z"}},
		{"nothing yet", `{}`, contract.Progress{}},
		{"unknown fields", `{"later":1}`, contract.Progress{}},
		{"more done than there is", `{"done":9,"total":4}`, contract.Progress{Done: 4, Total: 4}},
		{"negative", `{"done":-1,"total":-2,"progressPercentage":-3,"estimatedRemainingSeconds":-4}`, contract.Progress{}},
		{"beyond all bounds", `{"done":9223372036854775807,"total":9223372036854775807,"progressPercentage":2147483647,"estimatedRemainingSeconds":9223372036854775807}`,
			contract.Progress{Done: 1 << 40, Total: 1 << 40, ProgressPercentage: 100, EstimatedRemainingSeconds: 1 << 31}},
		{"bad metrics are left out", `{"metrics":[{"name":"","value":"1"},{"name":"loss","value":"0.5"},{"name":"x","value":"Inf"},{"name":"a b","value":"1"}]}`,
			contract.Progress{Metrics: []contract.Metric{{Name: "loss", Value: "0.5"}}}},
		{"the first of two metrics of a name", `{"metrics":[{"name":"loss","value":"0.5"},{"name":"loss","value":"0.6"}]}`,
			contract.Progress{Metrics: []contract.Metric{{Name: "loss", Value: "0.5"}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := contract.ParseProgress([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Metrics) == 0 {
				got.Metrics = nil
			}
			if diff := cmp.Diff(&tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("sixteen metrics at most", func(t *testing.T) {
		got, err := contract.ParseProgress([]byte(`{"metrics":[` + strings.Join(metrics, ",") + `]}`))
		if err != nil || len(got.Metrics) != 16 {
			t.Errorf("%d metrics, %v", len(got.Metrics), err)
		}
	})
	for name, text := range map[string]string{
		"no JSON": "502 Bad Gateway", "cut off": `{"done":`, "another type": `[]`, "nothing": "",
		"too long": `{"unit":"` + strings.Repeat("x", contract.MaxProgress) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := contract.ParseProgress([]byte(text)); err == nil {
				t.Errorf("passes: %+v", got)
			}
		})
	}
}

// FuzzParseProgress: whatever a pod answers, what passes is in the ranges that status can hold.
func FuzzParseProgress(f *testing.F) {
	f.Add([]byte(`{"done":3,"total":4,"metrics":[{"name":"loss","value":"1"},{"name":"loss","value":"2"}]}`))
	f.Add([]byte(`{"done":1e400}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := contract.ParseProgress(data)
		if err != nil {
			return
		}
		if p.Done < 0 || p.Done > p.Total || p.Total > 1<<40 || p.ProgressPercentage < 0 || p.ProgressPercentage > 100 ||
			p.EstimatedRemainingSeconds < 0 || len(p.Metrics) > 16 {
			t.Fatalf("out of range: %+v", p)
		}
		names := map[string]bool{}
		for _, m := range p.Metrics {
			if names[m.Name] || m.Name == "" || len(m.Name) > 64 || m.Value == "" || len(m.Value) > 32 {
				t.Fatalf("a metric that status cannot hold: %+v", m)
			}
			names[m.Name] = true
		}
	})
}
