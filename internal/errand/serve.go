package errand

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
)

const (
	// QuestionPath is where the asker puts the question.
	QuestionPath = "/question"
	// AnswerPath is where the asker gets the answer.
	AnswerPath = "/answer"
	readyPath  = "/readyz"
	// DigestHeader carries the digest of the answer's bytes as sent.
	DigestHeader = "X-Answer-Digest"
	// MaxQuestion bounds a question, in bytes.
	MaxQuestion = 256 << 20
)

// Work answers a question about a store. say tells how far it is.
type Work func(ctx context.Context, store *artifact.Store, question []byte, say func(format string, args ...any)) (answer []byte, err error)

// address to serve on: the pod's loopback, which a port-forward reaches and other pods do not.
var address = net.JoinHostPort("127.0.0.1", strconv.Itoa(contract.ProgressPort))

// serve works on one question until ctx ends.
func serve(ctx context.Context, storeURL string, work Work) error {
	if storeURL == "" {
		return fmt.Errorf("no store: set %s", contract.EnvStore)
	}
	store, err := artifact.Open(ctx, storeURL)
	if err != nil {
		return err
	}
	defer store.Close()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: newDesk(ctx, store, work).handler(), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// desk takes one question, and keeps its answer for whoever asks for it, also again.
type desk struct {
	ctx   context.Context
	store *artifact.Store
	work  Work

	mu       sync.Mutex
	question string // its digest; empty before there is one
	progress string // the last that work said
	done     bool
	answer   []byte // compressed
	err      error
}

func newDesk(ctx context.Context, store *artifact.Store, work Work) *desk {
	return &desk{ctx: ctx, store: store, work: work}
}

func (d *desk) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+readyPath, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("PUT "+QuestionPath, d.take)
	mux.HandleFunc("GET "+AnswerPath, d.give)
	return mux
}

// take begins with the question. The same one may come again, after a cut connection; another may not.
func (d *desk) take(w http.ResponseWriter, r *http.Request) {
	question, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxQuestion))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	digest := contract.Digest(question)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch d.question {
	case digest:
	case "":
		d.question = digest
		go d.run(question)
	default:
		http.Error(w, "another question was asked already", http.StatusConflict)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (d *desk) run(question []byte) {
	answer, err := d.work(d.ctx, d.store, question, d.say)
	var compressed bytes.Buffer
	if err == nil {
		zip := gzip.NewWriter(&compressed)
		_, err = zip.Write(answer)
		err = errors.Join(err, zip.Close())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done, d.answer, d.err = true, compressed.Bytes(), err
}

func (d *desk) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.progress = fmt.Sprintf(format, args...)
}

func (d *desk) give(w http.ResponseWriter, _ *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !d.done:
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintln(w, d.progress)
	case d.err != nil:
		http.Error(w, d.err.Error(), http.StatusUnprocessableEntity)
	default:
		w.Header().Set("Content-Type", "application/gzip")
		w.Header().Set("Content-Length", strconv.Itoa(len(d.answer)))
		w.Header().Set(DigestHeader, contract.Digest(d.answer))
		_, _ = w.Write(d.answer) // a client that went away asks again
	}
}

// ready asks the server on this pod's loopback.
func ready(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+readyPath, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", readyPath, response.Status)
	}
	return nil
}
