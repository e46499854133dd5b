package report

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/spatialalign/operator/internal/contract"
)

const tinyGIF = "GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"

// oneVideo is a bundle whose only clip has the given bytes and calls them a GIF.
func oneVideo(data string) *Bundle {
	digest := contract.Digest([]byte(data))
	clip := Clip{SampleID: "a", Status: contract.StatusScored, Video: &Video{Digest: digest, MediaType: "image/gif"}}
	return &Bundle{
		Findings: Findings{Galleries: []Gallery{{Kind: BeforeAfter, Rows: []Row{{Left: clip, Right: clip}}}}},
		Videos:   map[string][]byte{digest: []byte(data)},
	}
}

func encode(t testing.TB, b *Bundle) []byte {
	t.Helper()
	var wire bytes.Buffer
	if err := b.Write(&wire); err != nil {
		t.Fatal(err)
	}
	return wire.Bytes()
}

// archive is a gzipped tar of the entries given, whatever they are.
func archive(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var wire bytes.Buffer
	zip := gzip.NewWriter(&wire)
	w := tar.NewWriter(zip)
	for _, header := range headers {
		content := header.PAXRecords["TEST.content"]
		header.PAXRecords = nil
		header.Size = int64(len(content))
		if err := w.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	zip.Close()
	return wire.Bytes()
}

func file(name, content string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, PAXRecords: map[string]string{"TEST.content": content}}
}

func TestBundleIsTrustedInNothing(t *testing.T) {
	good := encode(t, oneVideo(tinyGIF))
	if _, err := ReadBundle(bytes.NewReader(good)); err != nil {
		t.Fatal(err)
	}
	findings, err := json.Marshal(oneVideo(tinyGIF).Findings)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(good)
	damaged[len(damaged)-6] ^= 1 // gzip's checksum
	for _, tc := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "EOF"},
		{"truncated", good[:len(good)/2], "bundle: "},
		{"damaged", damaged, "checksum"},
		{"an entry that climbs out", archive(t, file("findings.json", "{}"), file("../../etc/passwd", "x")), "no video that the findings name"},
		{"a link", archive(t, tar.Header{Typeflag: tar.TypeSymlink, Name: "findings.json", Linkname: "/etc/passwd"}), "unexpected entry"},
		{"another first entry", archive(t, file("videos/x", "x")), "unexpected entry"},
		{"another video", archive(t, file("findings.json", string(findings)), file("videos/x", "GIF89a other")), "no video that the findings name"},
		{"no video", archive(t, file("findings.json", string(findings))), "is missing"},
		{"a page that claims to be a video", encode(t, oneVideo("<html><script>")), "no video that the findings name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := ReadBundle(bytes.NewReader(tc.data)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func FuzzReadBundle(f *testing.F) {
	f.Add(encode(f, oneVideo(tinyGIF)))
	f.Add(archive(f, file("findings.json", "{}")))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := ReadBundle(bytes.NewReader(data))
		if err == nil && len(b.Videos) != len(b.Findings.videos()) {
			t.Error("videos that nobody names, or the other way round")
		}
	})
}

func FuzzParsePoint(f *testing.F) {
	for _, seed := range []string{`{"step":1,"loss":0.5}`, `{"step":"2","loss":"0.5","note":"x"}`, `{"step":-1}`, `{"step":1,"loss":"NaN"}`, `[]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		point, err := parsePoint(line)
		if err != nil {
			return
		}
		if _, err := json.Marshal(point); err != nil || point.Step < 0 {
			t.Errorf("%q gives %+v: %v", line, point, err)
		}
	})
}

func TestThinKeepsTheEnd(t *testing.T) {
	var points []Point
	for step := range 1001 {
		points = append(points, Point{Step: int64(step)})
	}
	kept := thin(points)
	if len(kept) > maxPoints || kept[len(kept)-1].Step != 1000 {
		t.Errorf("%d points, the last at step %d", len(kept), kept[len(kept)-1].Step)
	}
}

// TestAnswer: the errand takes a plan and gives a bundle; what it does not understand it refuses.
func TestAnswer(t *testing.T) {
	w := newWorld(t, 1)
	w.fill()
	plan, err := json.Marshal(PlanOf(w.run))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := Answer(t.Context(), w.store, plan, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if bundle, err := ReadBundle(bytes.NewReader(answer)); err != nil || len(bundle.Findings.Iterations) == 0 {
		t.Errorf("%+v, %v", bundle, err)
	}
	if _, err := Answer(t.Context(), w.store, []byte(`{"magic":1}`), t.Logf); err == nil || !strings.Contains(err.Error(), "magic") {
		t.Errorf("a plan with an unknown field: %v", err)
	}
}

func TestBuildCommand(t *testing.T) {
	w := newWorld(t, 1)
	w.fill()
	w.run.Kind, w.run.APIVersion = "AlignmentRun", "alignment.spatialalign.dev/v1alpha1"
	data, err := yaml.Marshal(w.run)
	if err != nil {
		t.Fatal(err)
	}
	run, out := filepath.Join(t.TempDir(), "run.yaml"), filepath.Join(t.TempDir(), "report")
	if err := os.WriteFile(run, data, 0o600); err != nil {
		t.Fatal(err)
	}
	execute := func(args ...string) error {
		c := Command()
		c.SetArgs(args)
		c.SilenceErrors, c.SilenceUsage = true, true
		return c.ExecuteContext(context.Background())
	}
	if err := execute("build", "--run", run, "--store", "file://"+w.dir, "--out", out); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(out, "index.html")); err != nil {
		t.Error(err)
	}
	if err := execute("build", "--run", run, "--store", "ftp://host/", "--out", out); err == nil || !strings.Contains(err.Error(), "scheme must be file or s3") {
		t.Errorf("a store of no known kind: %v", err)
	}
	absent := filepath.Join(t.TempDir(), "none")
	if err := execute("build", "--run", run, "--store", "file://"+absent, "--out", out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a store that does not exist: %v", err)
	}
	if err := os.WriteFile(run, []byte("kind: Pod\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := execute("build", "--run", run, "--store", "file://"+w.dir, "--out", out); err == nil || !strings.Contains(err.Error(), `this is "Pod"`) {
		t.Errorf("a file that holds no run: %v", err)
	}
}
