package conformance

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/stage"
)

// suite is the state that the tests hand on: a store that fills up.
type suite struct {
	*testing.T
	Runtime
	dir     string
	store   *artifact.Store
	prompts contract.Artifact
	index   contract.Artifact
	lines   []contract.IndexLine
	pods    *atomic.Int64
}

// with is the suite in the hands of a subtest.
func (s *suite) with(t *testing.T) *suite {
	sub := *s
	sub.T = t
	return &sub
}

// pod is one run of the executable.
type pod struct {
	spec          *contract.Spec
	attempt       int
	shard, shards int
	rank          int      // among pods that train together
	env           []string // beyond the usual
	specJSON      []byte   // when not the spec's own
	specDigest    string   // when not that of the spec's bytes
	arguments     []string // when not the usual ones
}

// process is a running pod.
type process struct {
	pod
	uid, address, terminationLog string

	cmd    *exec.Cmd
	log    bytes.Buffer
	exited chan struct{}
}

// ended is how a pod ended.
type ended struct {
	code        contract.ExitCode // -1 when killed
	termination *contract.Termination
	uid         string
}

// start starts a pod.
func (s *suite) start(of pod) *process {
	s.Helper()
	number := s.pods.Add(1)
	scratch := s.TempDir()
	p := &process{
		pod: of, uid: fmt.Sprintf("uid-%04d", number), address: freeAddress(s.T),
		terminationLog: filepath.Join(scratch, "termination-log"), exited: make(chan struct{}),
	}
	if p.specJSON == nil {
		p.specJSON, _ = p.spec.Encode()
	}
	specFile := filepath.Join(scratch, "spec.json")
	for file, content := range map[string][]byte{specFile: p.specJSON, p.terminationLog: nil} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			s.Fatal(err)
		}
	}
	if p.arguments == nil {
		digest := cmp.Or(p.specDigest, contract.Digest(p.specJSON))
		p.arguments = []string{string(p.spec.Stage), contract.FlagSpec, specFile, contract.FlagSpecDigest, digest}
	}
	p.cmd = exec.Command(s.Command[0], slices.Concat(s.Command[1:], p.arguments)...)
	p.cmd.Env = append(os.Environ(),
		contract.EnvStore+"=file://"+s.dir,
		contract.EnvPodUID+"="+p.uid,
		fmt.Sprintf("%s=%d", contract.EnvAttempt, p.attempt),
		fmt.Sprintf("%s=%d", contract.EnvShards, max(1, p.shards)),
		fmt.Sprintf("%s=%d", contract.EnvShard, p.shard+p.rank),
		stage.EnvProgressAddress+"="+p.address,
		stage.EnvTerminationLog+"="+p.terminationLog,
	)
	p.cmd.Env = append(p.cmd.Env, p.env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		s.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in ProcessState
		close(p.exited)
	}()
	s.Cleanup(func() { // when the test ends before the pod
		_ = p.cmd.Process.Kill()
		<-p.exited
	})
	return p
}

// wait waits for the end of a pod.
func (s *suite) wait(p *process) ended {
	s.Helper()
	<-p.exited
	end := ended{code: contract.ExitCode(p.cmd.ProcessState.ExitCode()), uid: p.uid}
	if end.code >= 0 {
		end.termination = s.lastWord(p, end.code)
	}
	if s.Failed() {
		s.Logf("%q in attempt %d said:\n%s", p.arguments, p.attempt, &p.log)
	}
	return end
}

// run runs a pod to its end.
func (s *suite) run(p pod) ended {
	s.Helper()
	return s.wait(s.start(p))
}

// lastWord checks the termination message against the exit code.
func (s *suite) lastWord(p *process, code contract.ExitCode) *contract.Termination {
	s.Helper()
	message, err := os.ReadFile(p.terminationLog)
	if err != nil {
		s.Fatal(err)
	}
	termination, err := contract.ParseTermination(bytes.TrimSpace(message))
	if err != nil {
		s.Errorf("exit code %d: termination message %q: %v", code, message, err)
		return &contract.Termination{}
	}
	if termination.Class != code.Class() {
		s.Errorf("exit code %d has class %s, the termination message says %s", code, code.Class(), termination.Class)
	}
	if (termination.Manifest != nil) != (code == contract.ExitDone && p.rank == 0) {
		s.Errorf("exit code %d of rank %d: a manifest is named exactly on success, and by rank 0 alone, got %v", code, p.rank, termination.Manifest)
	}
	if code != contract.ExitDone && termination.Message == "" {
		s.Errorf("exit code %d: the termination message does not say why", code)
	}
	return termination
}

// done runs a pod that must succeed and gives its manifest, checked.
func (s *suite) done(p pod) (ended, *contract.Manifest) {
	s.Helper()
	end := s.run(p)
	if end.code != contract.ExitDone {
		s.Fatalf("%s: exit code %d: %s", p.spec.Stage, end.code, end.termination.Message)
	}
	return end, s.checkManifest(p, end)
}

// fails runs a pod that must fail with a code and a message that holds a text.
func (s *suite) fails(p pod, want contract.ExitCode, text string) {
	s.Helper()
	end := s.run(p)
	if end.code != want || !strings.Contains(end.termination.Message, text) {
		s.Errorf("exit code %d, %q; want %d and a message about %q", end.code, end.termination.Message, want, text)
	}
}

// checkManifest checks that a manifest is valid, vouches for what is there, and is of this pod; of an
// earlier attempt when it was adopted.
func (s *suite) checkManifest(p pod, end ended) *contract.Manifest {
	s.Helper()
	m, err := s.store.ReadManifest(s.Context(), *end.termination.Manifest)
	if err != nil {
		s.Fatal(err)
	}
	if err := s.store.VerifyManifest(s.Context(), m); err != nil {
		s.Error(err)
	}
	_, digest := p.spec.Encode()
	if m.Stage != p.spec.Stage || m.SpecDigest != digest || m.Shard != p.shard || m.Shards != max(1, p.shards) {
		s.Errorf("the manifest is of stage %s, spec %s, shard %d of %d", m.Stage, m.SpecDigest, m.Shard, m.Shards)
	}
	if adopted := end.termination.Counts["adopted"] == 1; !adopted && (m.Attempt != p.attempt || m.PodUID != end.uid) {
		s.Errorf("the manifest is of attempt %d and pod %s, want %d and %s", m.Attempt, m.PodUID, p.attempt, end.uid)
	}
	if want := artifact.ManifestDir(p.spec.Output, m.Attempt, m.PodUID, m.Shard) + "/manifest.json"; end.termination.Manifest.Key != want {
		s.Errorf("the manifest stands at %s, want %s", end.termination.Manifest.Key, want)
	}
	for name, a := range m.Outputs {
		if end.termination.Outputs[name] != a {
			s.Errorf("output %s is %v in the manifest, %v in the termination message", name, a, end.termination.Outputs[name])
		}
	}
	return m
}

// adopts runs another attempt of work that is done, which must adopt it.
func (s *suite) adopts(p pod, first ended) {
	s.Helper()
	p.attempt++
	again, _ := s.done(p)
	if *again.termination.Manifest != *first.termination.Manifest || again.termination.Counts["adopted"] != 1 {
		s.Errorf("another attempt named %v with counts %v, want to adopt %v", again.termination.Manifest, again.termination.Counts, first.termination.Manifest)
	}
}

// progress polls a running pod until enough units are done; nil when the pod ended before that.
func (s *suite) progress(p *process, done int64) *contract.Progress {
	s.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-p.exited:
			return nil
		case <-ticker.C:
		}
		status, body, err := s.get(p, "/progress")
		if err != nil {
			continue // not up yet, or gone
		}
		var progress contract.Progress
		if err := json.Unmarshal(body, &progress); err != nil || status != http.StatusOK || len(body) > contract.MaxProgress {
			s.Errorf("GET /progress answers status %d and %d bytes: %q, %v", status, len(body), body, err)
			return nil
		}
		if progress.Done >= done {
			return &progress
		}
	}
}

// get asks a running pod.
func (s *suite) get(p *process, path string) (status int, body []byte, err error) {
	request, err := http.NewRequestWithContext(s.Context(), http.MethodGet, "http://"+p.address+path, nil)
	if err != nil {
		return 0, nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, contract.MaxProgress+1))
	return response.StatusCode, body, err
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
