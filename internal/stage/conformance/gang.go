package conformance

import (
	"fmt"
	"net"
	"slices"
	"syscall"
	"testing"

	"github.com/spatialalign/operator/internal/contract"
)

// gang: two pods of one training find each other, and the first writes for both. When one ends, the other does, and the
// next attempt ends as if nothing had happened.
func (s *suite) gang(t *testing.T) {
	whole := s.with(t)
	spec := s.trainSpec("out/gang")
	ends := whole.together(spec, 0)
	if ends[0].code != contract.ExitDone || ends[1].code != contract.ExitDone {
		t.Fatalf("exit codes %d and %d: %s", ends[0].code, ends[1].code, ends[0].termination.Message)
	}
	want := whole.checkManifest(pod{spec: spec}, ends[0])
	if want.Counts["steps"] != int64(s.Training.Steps) {
		t.Errorf("counts %v, want %d steps", want.Counts, s.Training.Steps)
	}
	for rank, end := range whole.together(spec, 1) {
		if end.code != contract.ExitDone || rank == 0 && end.termination.Counts["adopted"] != 1 {
			t.Errorf("rank %d of another attempt: exit code %d, want to adopt what is done: %v", rank, end.code, end.termination)
		}
	}
	for _, c := range []struct {
		name   string
		signal syscall.Signal
		ended  contract.ExitCode
		other  []contract.ExitCode
	}{
		{"one is told to stop", syscall.SIGTERM, contract.ExitCheckpointed, []contract.ExitCode{contract.ExitCheckpointed}},
		{"one is killed", syscall.SIGKILL, -1, []contract.ExitCode{contract.ExitStorage, contract.ExitGPU}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			s := s.with(t)
			spec := s.trainSpec("out/gang-" + c.signal.String())
			pods := s.startTogether(spec, 0, s.Slowly)
			if s.progress(pods[0], 3) == nil {
				t.Fatalf("rank 0 ended with code %d before it told of any progress", s.wait(pods[0]).code)
			}
			if err := pods[1].cmd.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			if code := s.wait(pods[1]).code; code != c.ended {
				t.Errorf("after the signal rank 1 ended with code %d, want %d", code, c.ended)
			}
			if code := s.wait(pods[0]).code; !slices.Contains(c.other, code) {
				t.Errorf("rank 0 then ended with code %d, want one of %d", code, c.other)
			}
			ends := s.together(spec, 1)
			if ends[0].code != contract.ExitDone || ends[1].code != contract.ExitDone {
				t.Fatalf("the next attempt: exit codes %d and %d: %s", ends[0].code, ends[1].code, ends[0].termination.Message)
			}
			m := s.checkManifest(pod{spec: spec, attempt: 1}, ends[0])
			if ends[0].termination.Counts["adopted"] != 0 {
				t.Error("the next attempt adopted a stage that was not done")
			}
			if s.Reproducible && m.Outputs["adapter"].Digest != want.Outputs["adapter"].Digest {
				t.Error("the interrupted training ended with another adapter than an undisturbed one")
			}
		})
	}
}

// together runs two pods of a training to their ends.
func (s *suite) together(spec *contract.Spec, attempt int) (ends [2]ended) {
	s.Helper()
	for rank, p := range s.startTogether(spec, attempt, nil) {
		ends[rank] = s.wait(p)
	}
	return ends
}

// startTogether starts two pods of a training, the second one first: who comes first does not matter.
func (s *suite) startTogether(spec *contract.Spec, attempt int, env []string) (pods [2]*process) {
	s.Helper()
	host, port, err := net.SplitHostPort(freeAddress(s.T))
	if err != nil {
		s.Fatal(err)
	}
	for _, rank := range []int{1, 0} {
		pods[rank] = s.start(pod{spec: spec, attempt: attempt, rank: rank, env: append(slices.Clone(env),
			fmt.Sprintf("%s=%d", contract.EnvNodes, len(pods)), contract.EnvMasterAddress+"="+host, contract.EnvMasterPort+"="+port,
		)})
	}
	return pods
}

// refusesSeveralNodes: each of several pods that do not know of each other would train on its own, and all but one for nothing.
func (s *suite) refusesSeveralNodes() {
	p := pod{spec: s.trainSpec("out/x"), env: []string{contract.EnvNodes + "=2", contract.EnvMasterAddress + "=127.0.0.1", contract.EnvMasterPort + "=1"}}
	s.fails(p, contract.ExitBadSpec, contract.EnvNodes)
}
