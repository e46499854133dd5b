package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
)

const (
	// BundlePath is where the server has the bundle.
	BundlePath = "/bundle.tar.gz"
	// DigestHeader carries the digest of the bundle's bytes.
	DigestHeader = "X-Bundle-Digest"
)

// address to serve on: the pod's loopback, which a port-forward reaches and other pods do not.
var address = net.JoinHostPort("127.0.0.1", strconv.Itoa(contract.ProgressPort))

// serve gathers what the plan names and then serves it until ctx ends. The listener opens when the
// bundle is complete, so that one that answers is ready.
func serve(ctx context.Context, planFile, storeURL string) error {
	data, err := os.ReadFile(planFile)
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	var plan Plan
	if err := artifact.DecodeStrict(data, &plan); err != nil {
		return fmt.Errorf("plan %s: %w", planFile, err)
	}
	bundle, err := gatherFrom(ctx, storeURL, plan)
	if err != nil {
		return err
	}
	var encoded bytes.Buffer
	if err := bundle.Write(&encoded); err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler(encoded.Bytes()), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func gatherFrom(ctx context.Context, storeURL string, plan Plan) (*Bundle, error) {
	if storeURL == "" {
		return nil, fmt.Errorf("no store: set %s or --store", contract.EnvStore)
	}
	store, err := artifact.Open(ctx, storeURL)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	return Gather(ctx, store, plan)
}

func handler(bundle []byte) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET "+BundlePath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/gzip")
		w.Header().Set("Content-Length", strconv.Itoa(len(bundle)))
		w.Header().Set(DigestHeader, contract.Digest(bundle))
		_, _ = w.Write(bundle) // a client that went away needs no answer
	})
	return mux
}

// ready asks the server on this pod's loopback.
func ready(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /readyz: %s", response.Status)
	}
	return nil
}
