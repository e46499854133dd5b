package errand

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
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
	// DigestTrailer carries the digest of the answer's bytes as sent, behind them.
	DigestTrailer = "X-Answer-Digest"
	// problemTrailer says why an answer that had begun could not be ended.
	problemTrailer = "X-Answer-Problem"
	// MaxQuestion bounds a question, in bytes.
	MaxQuestion = 256 << 20
)

// Work answers a question about a store. say tells how far it is. The answer is written each time that it is asked for.
type Work func(ctx context.Context, store *artifact.Store, question []byte, say func(format string, args ...any)) (answer func(io.Writer) error, err error)

// Whole is work whose answer is ready when it is done, and fits into a pod's memory.
func Whole(work func(ctx context.Context, store *artifact.Store, question []byte, say func(format string, args ...any)) ([]byte, error)) Work {
	return func(ctx context.Context, store *artifact.Store, question []byte, say func(format string, args ...any)) (func(io.Writer) error, error) {
		answer, err := work(ctx, store, question, say)
		return func(w io.Writer) error {
			_, err := w.Write(answer)
			return err
		}, err
	}
}

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
	answer   func(io.Writer) error
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
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done, d.answer, d.err = true, answer, err
}

func (d *desk) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.progress = fmt.Sprintf(format, args...)
}

func (d *desk) give(w http.ResponseWriter, _ *http.Request) {
	d.mu.Lock()
	done, progress, answer, err := d.done, d.progress, d.answer, d.err
	d.mu.Unlock()
	switch {
	case !done:
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintln(w, progress)
	case err != nil:
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
	default:
		send(w, answer)
	}
}

// send an answer, compressed. A client that went away asks again.
func send(w http.ResponseWriter, answer func(io.Writer) error) {
	w.Header().Set("Content-Type", "application/gzip")
	w.Header().Set("Trailer", DigestTrailer+", "+problemTrailer)
	digest := sha256.New()
	zip := gzip.NewWriter(io.MultiWriter(w, digest))
	if err := errors.Join(answer(zip), zip.Close()); err != nil {
		w.Header().Set(problemTrailer, err.Error())
		return
	}
	w.Header().Set(DigestTrailer, fmt.Sprintf("sha256:%x", digest.Sum(nil)))
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
