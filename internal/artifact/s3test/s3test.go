// Package s3test runs a real S3 server (versitygw) in a process of its own, for tests.
package s3test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	accessKey = "test-access"
	secretKey = "test-secret"
	bucket    = "artifacts"
	module    = "hack/s3server"
	program   = "github.com/versity/versitygw/cmd/versitygw"
)

// Server is a running S3 server with one bucket.
type Server struct{ address string }

// Start builds the server that hack/s3server pins (once; it stays in the user's cache), runs it until
// the test ends, and puts its credentials into the environment of the test.
func Start(t testing.TB) *Server {
	t.Helper()
	binary := build(t)
	t.Setenv("AWS_ACCESS_KEY_ID", accessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secretKey)
	root, sidecar := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(root, bucket), 0o755); err != nil {
		t.Fatal(err)
	}
	// A port that is free now may be taken a moment later: try again on another.
	const attempts = 5
	var log bytes.Buffer
	for range attempts {
		address := freeAddress(t)
		cmd := exec.Command(binary, "--port", address, "--access", accessKey, "--secret", secretKey, "--quiet",
			"posix", "--sidecar", sidecar, root)
		log.Reset()
		cmd.Stdout, cmd.Stderr = &log, &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		exited := make(chan struct{})
		go func() {
			_ = cmd.Wait() // it ends when it is killed
			close(exited)
		}()
		if ready(address, exited) {
			t.Cleanup(func() {
				_ = cmd.Process.Kill()
				<-exited
			})
			return &Server{address: address}
		}
	}
	t.Fatalf("the S3 server does not start:\n%s", &log)
	return nil
}

// URL of the artifact root below a prefix of the bucket.
func (s *Server) URL(prefix string) string { return s.BucketURL(bucket, prefix) }

// BucketURL is the artifact root in a bucket of a name; only that of URL exists.
func (s *Server) BucketURL(bucket, prefix string) string {
	q := url.Values{"endpoint": {"http://" + s.address}, "region": {"us-east-1"}, "use_path_style": {"true"}}
	return fmt.Sprintf("s3://%s/%s?%s", bucket, prefix, q.Encode())
}

// ready waits until the server accepts connections; false when it exited.
func ready(address string, exited <-chan struct{}) bool {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-exited:
			return false
		case <-ticker.C:
			if conn, err := net.Dial("tcp", address); err == nil {
				_ = conn.Close()
				return true
			}
		}
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// build gives the server's binary, named by the digest of its pins and the Go version.
func build(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(repository(t), filepath.FromSlash(module))
	digest := sha256.New()
	fmt.Fprintln(digest, runtime.Version())
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		digest.Write(data)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(cache, "spatialalign", "tools", fmt.Sprintf("s3server-%x", digest.Sum(nil)[:8]))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(folder, "versitygw")
	unlock := lock(t, binary+".lock") // test packages run at the same time
	defer unlock()
	if _, err := os.Stat(binary); err == nil {
		return binary
	}
	t.Logf("building %s once, which takes minutes", program)
	cmd := exec.Command("go", "build", "-C", dir, "-trimpath", "-ldflags", "-s -w", "-o", binary+".new", program)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, output)
	}
	if err := os.Rename(binary+".new", binary); err != nil {
		t.Fatal(err)
	}
	return binary
}

// repository is the folder of the module under test. The paths in a binary do not tell it when that is built with -trimpath.
func repository(t testing.TB) string {
	t.Helper()
	file, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(strings.TrimSpace(string(file)))
}

func lock(t testing.TB, path string) (unlock func()) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return func() { _ = file.Close() }
}
