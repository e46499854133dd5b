package conformance

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spatialalign/operator/internal/contract"
)

// refusals: what is wrong is refused with the code that says whose fault it is.
func (s *suite) refusals(t *testing.T) {
	foreign := contract.Digest([]byte("foreign"))
	edit := func(spec *contract.Spec, before, after string) []byte {
		data, _ := spec.Encode()
		return []byte(strings.Replace(string(data), before, after, 1))
	}
	for _, c := range []struct {
		name string
		pod  func(s *suite) pod
		want contract.ExitCode
		say  string
	}{
		{"no arguments", func(s *suite) pod { return pod{spec: s.sampleSpec("out/x"), arguments: []string{}} }, contract.ExitBadSpec, ""},
		{"an unknown stage", func(s *suite) pod {
			return pod{spec: s.sampleSpec("out/x"), arguments: []string{"dream", "--spec", "x", "--spec-digest", foreign}}
		}, contract.ExitBadSpec, "dream"},
		{"a spec with another digest", func(s *suite) pod { return pod{spec: s.sampleSpec("out/x"), specDigest: foreign} }, contract.ExitBadSpec, "digest"},
		{"a spec that is cut", func(s *suite) pod {
			data, _ := s.sampleSpec("out/x").Encode()
			return pod{spec: s.sampleSpec("out/x"), specJSON: data[:len(data)/2]}
		}, contract.ExitBadSpec, ""},
		{"a spec with an unknown field", func(s *suite) pod {
			spec := s.sampleSpec("out/x")
			return pod{spec: spec, specJSON: edit(spec, `"keepLatents":true`, `"keepLatents":true,"magic":1`)}
		}, contract.ExitBadSpec, "magic"},
		{"a spec with a duplicate key", func(s *suite) pod {
			spec := s.sampleSpec("out/x")
			return pod{spec: spec, specJSON: edit(spec, `"keepLatents":true`, `"keepLatents":true,"keepLatents":false`)}
		}, contract.ExitBadSpec, "keepLatents"},
		{"a spec of another contract version", func(s *suite) pod {
			spec := s.sampleSpec("out/x")
			return pod{spec: spec, specJSON: edit(spec, `"contractVersion":"v1"`, `"contractVersion":"v9"`)}
		}, contract.ExitBadSpec, "v9"},
		{"a spec of another stage", func(s *suite) pod {
			return pod{spec: s.sampleSpec("out/x"), specJSON: edit(s.sampleSpec("out/x"), `"stage":"sample"`, `"stage":"track"`)}
		}, contract.ExitBadSpec, ""},
		{"an output outside the root", func(s *suite) pod { return pod{spec: s.sampleSpec("../out")} }, contract.ExitBadSpec, "output"},
		{"an input that is missing", func(s *suite) pod {
			spec := s.sampleSpec("out/x")
			spec.Sample.Index.Key = "in/nowhere.jsonl"
			return pod{spec: spec}
		}, contract.ExitBadInput, "in/nowhere.jsonl"},
		{"an input with another digest", func(s *suite) pod {
			spec := s.trackSpec("out/x")
			spec.Track.Index.Digest = foreign
			return pod{spec: spec}
		}, contract.ExitBadInput, s.index.Key},
		{"a video that was lost", func(s *suite) pod {
			spec := s.trackSpec("out/x")
			spec.Track.RequireVideos = true
			spec.Track.Index = putLines(s, "in/lost-video.jsonl", []contract.IndexLine{{SampleID: strings.Repeat("0", 64), PromptID: s.Prompts[0].PromptID, Seed: 1}})
			return pod{spec: spec}
		}, contract.ExitBadInput, strings.Repeat("0", 64)},
		{"pairs that are cut", func(s *suite) pod {
			spec := s.trainSpec("out/x")
			if err := os.Truncate(filepath.Join(s.dir, filepath.FromSlash(spec.Train.Pairs.Key)), 10); err != nil {
				s.Fatal(err)
			}
			return pod{spec: spec}
		}, contract.ExitBadInput, "in/pairs.jsonl"},
		{"pairs of samples that are not there", func(s *suite) pod {
			spec := s.trainSpec("out/x")
			spec.Train.Pairs = putLines(s, "in/lost.jsonl", []contract.PairLine{
				{PromptID: s.Prompts[0].PromptID, Iteration: 1, Winner: strings.Repeat("0", 64), Loser: strings.Repeat("1", 64), WinnerScore: 1},
			})
			return pod{spec: spec}
		}, contract.ExitBadInput, strings.Repeat("0", 64)},
		{"a foreign model to sample", func(s *suite) pod {
			spec := s.sampleSpec("out/x")
			spec.Sample.Sampling.Model.Digest = foreign
			return pod{spec: spec}
		}, contract.ExitMismatch, foreign},
		{"a foreign model to train", func(s *suite) pod {
			spec := s.trainSpec("out/x")
			spec.Train.Model.Digest = foreign
			return pod{spec: spec}
		}, contract.ExitMismatch, foreign},
		{"a foreign detector", func(s *suite) pod {
			spec := s.trackSpec("out/x")
			spec.Track.Detector.Digest = foreign
			return pod{spec: spec}
		}, contract.ExitMismatch, foreign},
		{"an adapter that is none", func(s *suite) pod {
			spec := s.trainSpec("out/x")
			spec.Train.StartAdapter = &s.prompts
			return pod{spec: spec}
		}, contract.ExitMismatch, s.prompts.Key},
		{"a reference adapter that is none", func(s *suite) pod {
			spec := s.trainSpec("out/x")
			spec.Train.ReferenceAdapter = &s.prompts
			return pod{spec: spec}
		}, contract.ExitMismatch, s.prompts.Key},
		{"a store that refuses", func(s *suite) pod {
			file := filepath.Join(s.dir, s.prompts.Key)
			return pod{spec: s.sampleSpec("out/x"), env: []string{contract.EnvStore + "=file://" + file}}
		}, contract.ExitStorage, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := s.with(t)
			s.fails(c.pod(s), c.want, c.say)
			if keys, err := s.store.List(t.Context(), "out/x/"); err != nil || len(keys) > 0 {
				t.Errorf("it left %q behind, %v", keys, err)
			}
		})
	}
}

// interruptions: a pod that ends half-way, politely or not, costs its unfinished item at most, and the
// next attempt ends as if nothing had happened.
func (s *suite) interruptions(t *testing.T) {
	for _, c := range []struct {
		name   string
		signal syscall.Signal
		spec   func(s *suite, output string) *contract.Spec
	}{
		{"sampling and SIGTERM", syscall.SIGTERM, freshSamples},
		{"sampling and SIGKILL", syscall.SIGKILL, freshSamples},
		{"training and SIGTERM", syscall.SIGTERM, (*suite).trainSpec},
		{"training and SIGKILL", syscall.SIGKILL, (*suite).trainSpec},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := s.with(t)
			output := "out/" + strings.ReplaceAll(c.name, " ", "-")
			first := pod{spec: c.spec(s, output), env: s.Slowly}
			p := s.start(first)
			progress := s.progress(p, 1)
			if progress == nil {
				end := s.wait(p)
				t.Fatalf("the pod ended with code %d before it told of any progress", end.code)
			}
			if progress.Total < progress.Done || progress.Unit == "" {
				t.Errorf("progress %+v", progress)
			}
			for _, path := range []string{"/healthz", "/metrics"} {
				if status, _, err := s.get(p, path); err != nil || status != 200 {
					t.Errorf("GET %s: status %d, %v", path, status, err)
				}
			}
			if err := p.cmd.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			switch end := s.wait(p); {
			case c.signal == syscall.SIGKILL && end.code == -1:
			case c.signal == syscall.SIGTERM && (end.code == contract.ExitCheckpointed || end.code == contract.ExitSIGTERM):
			default:
				t.Errorf("after the signal it ended with code %d", end.code)
			}
			next, m := s.done(pod{spec: first.spec, attempt: 1})
			if next.termination.Counts["adopted"] != 0 {
				t.Error("the next attempt adopted a stage that was not done")
			}
			if first.spec.Stage == contract.Sample {
				if c := next.termination.Counts; c["reused"] < progress.Done || c["generated"] < 1 {
					t.Errorf("%d samples were done before, the next attempt counts %v", progress.Done, c)
				}
				return
			}
			undisturbed := c.spec(s, output+"-undisturbed")
			if _, whole := s.done(pod{spec: undisturbed}); s.Reproducible && whole.Outputs["adapter"].Digest != m.Outputs["adapter"].Digest {
				t.Error("the interrupted training ended with another adapter than an undisturbed one")
			}
		})
	}
}

// freshSamples asks for samples that no other test asks for.
func freshSamples(s *suite, output string) *contract.Spec {
	s.Helper()
	spec := s.sampleSpec(output)
	lines := s.indexOf(spec.Sample.Sampling, 1000+uint64(s.pods.Load()), 5)
	spec.Sample.Index = putLines(s, "in/fresh-"+filepath.Base(output)+".jsonl", lines)
	return spec
}
