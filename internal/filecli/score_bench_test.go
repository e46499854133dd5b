//go:build linux

package filecli

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jsonl"
	"github.com/spatialalign/operator/internal/prompts"
)

// BenchmarkScoreCLI runs the score command on a gzip file of 100,000 samples of 81 frames, 6 KB each.
// Run it with -benchtime=1x or 3x; it reports samples per second of wall time, the CPU seconds of a run
// and the peak memory of the process.
func BenchmarkScoreCLI(b *testing.B) {
	const samples = 100_000
	dir := b.TempDir()
	set, err := prompts.Generate(contract.Generate{Count: 100, Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	size := writeBenchmarkInput(b, dir, set, samples)
	resetPeakMemory()
	b.ReportAllocs()
	cpu := cpuSeconds()
	for b.Loop() {
		stdout, err := runCommand("", "score", "--prompts", filepath.Join(dir, "prompts.jsonl"), "--tracks", filepath.Join(dir, "tracks.jsonl.gz"),
			"--out", filepath.Join(dir, "scores.jsonl"), "--samples-per-prompt", strconv.Itoa(samples/len(set)))
		if err != nil {
			b.Fatal(stdout, err)
		}
	}
	b.ReportMetric((cpuSeconds()-cpu)/float64(b.N), "cpu-s/op")
	b.ReportMetric(float64(samples*b.N)/b.Elapsed().Seconds(), "samples/s")
	b.ReportMetric(float64(size)/samples, "bytes/sample")
	b.ReportMetric(peakMemory(), "peak-MiB")
}

// writeBenchmarkInput writes the prompts and the tracks, and gives the size of the tracks before compression.
func writeBenchmarkInput(b *testing.B, dir string, set []contract.PromptLine, samples int) int {
	b.Helper()
	err := writeFile(filepath.Join(dir, "prompts.jsonl"), func(w io.Writer) error { return prompts.Write(w, set) })
	if err != nil {
		b.Fatal(err)
	}
	size := 0
	err = writeFile(filepath.Join(dir, "tracks.jsonl.gz"), func(w io.Writer) error {
		z := gzip.NewWriter(w)
		counter := &countingWriter{w: z}
		buffered := bufio.NewWriter(counter)
		encoder := jsonl.NewEncoder[contract.TrackLine](buffered)
		for k := range samples {
			track := benchmarkTrack(k, set[k%len(set)].PromptID)
			if err := encoder.Write(&track); err != nil {
				return err
			}
		}
		if err := buffered.Flush(); err != nil {
			return err
		}
		size = counter.n
		return z.Close()
	})
	if err != nil {
		b.Fatal(err)
	}
	return size
}

// benchmarkTrack is a subject that walks across an object, with a detector's jitter.
func benchmarkTrack(number int, promptID string) contract.TrackLine {
	random := rand.New(rand.NewPCG(1, uint64(number)))
	track := contract.TrackLine{
		SampleID: contract.Digest([]byte(strconv.Itoa(number)))[len("sha256:"):], PromptID: promptID, Seed: random.Uint64(),
		Width: 832, Height: 480, FrameCount: 81, Status: contract.StatusTracked,
	}
	for k := range track.FrameCount {
		x, y := float64(100+6*k+random.IntN(8))+0.5, float64(150+random.IntN(20))+0.5
		track.Frames = append(track.Frames, contract.TrackFrame{
			Index:   k,
			Subject: &contract.Box{x, y, x + 100, y + 90},
			Object:  &contract.Box{float64(400 + random.IntN(4)), 171, float64(530 + random.IntN(4)), 251},
		})
	}
	return track
}

type countingWriter struct {
	w io.Writer
	n int
}

func (c *countingWriter) Write(p []byte) (int, error) {
	c.n += len(p)
	return c.w.Write(p)
}

// cpuSeconds that the process has used, in user and system mode.
func cpuSeconds() float64 {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // fails only for an unknown first argument
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

func resetPeakMemory() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

func peakMemory() (mib float64) {
	status, _ := os.ReadFile("/proc/self/status")
	if match := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status); match != nil {
		_, _ = fmt.Sscan(string(match[1]), &mib)
	}
	return mib / 1024
}
