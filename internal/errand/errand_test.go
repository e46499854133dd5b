package errand

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spatialalign/operator/internal/artifact"
)

// desktop serves one errand and gives its address.
func desktop(t *testing.T, work Work) string {
	t.Helper()
	store, err := artifact.Open(t.Context(), "file://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(newDesk(t.Context(), store, work).handler())
	t.Cleanup(func() {
		web.Close()
		_ = store.Close()
	})
	return strings.TrimPrefix(web.URL, "http://")
}

func ask(t *testing.T, address, question string, say func(string)) (string, error) {
	t.Helper()
	answer, err := Ask(t.Context(), address, []byte(question), time.Millisecond, say)
	return string(answer), err
}

// TestAsk: the work begins with the question, tells how far it is, and its answer may be had twice; it is
// done once.
func TestAsk(t *testing.T) {
	begun, told := 0, make(chan string, 10)
	half := make(chan struct{})
	address := desktop(t, Whole(func(_ context.Context, store *artifact.Store, question []byte, say func(string, ...any)) ([]byte, error) {
		begun++
		say("%d of %d", 1, 2)
		<-half
		return append([]byte("echo "), question...), nil
	}))
	go func() {
		for progress := range told {
			if progress == "1 of 2" {
				close(half)
			}
		}
	}()
	for range 2 {
		answer, err := ask(t, address, "hello", func(progress string) { told <- progress })
		if err != nil || answer != "echo hello" {
			t.Errorf("answer %q, %v", answer, err)
		}
	}
	close(told)
	if begun != 1 {
		t.Errorf("the work was done %d times", begun)
	}
	var refused *RefusedError
	if _, err := ask(t, address, "something else", func(string) {}); !errors.As(err, &refused) {
		t.Errorf("another question: %v", err)
	}
}

func TestWorkThatFails(t *testing.T) {
	address := desktop(t, Whole(func(context.Context, *artifact.Store, []byte, func(string, ...any)) ([]byte, error) {
		return nil, errors.New("access denied")
	}))
	var refused *RefusedError
	if _, err := ask(t, address, "hello", func(string) {}); !errors.As(err, &refused) || refused.Message != "access denied" {
		t.Errorf("error %v", err)
	}
}

// TestAnswerThatFails: an answer that cannot be ended says why, and asking again would be of no use.
func TestAnswerThatFails(t *testing.T) {
	address := desktop(t, func(context.Context, *artifact.Store, []byte, func(string, ...any)) (func(io.Writer) error, error) {
		return func(w io.Writer) error {
			_, err := w.Write(make([]byte, 1<<20))
			return errors.Join(err, errors.New("read a:\nit was changed"))
		}, nil
	})
	var refused *RefusedError
	if answer, err := ask(t, address, "hello", func(string) {}); !errors.As(err, &refused) || refused.Message != "read a: it was changed" || answer != "" {
		t.Errorf("%d bytes, error %v", len(answer), err)
	}
}

// TestDamageOnTheWay: an answer that is not what was sent is an error, and so is a server that fails.
func TestDamageOnTheWay(t *testing.T) {
	for want, handler := range map[string]http.HandlerFunc{
		`"sha256:other" was sent`: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", DigestTrailer)
			_, _ = io.WriteString(w, "damaged")
			w.Header().Set(DigestTrailer, "sha256:other")
		},
		`"" was sent`:     func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "cut") },
		"502 Bad Gateway": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"EOF":             func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		web := httptest.NewServer(handler)
		t.Cleanup(web.Close)
		_, err := ask(t, strings.TrimPrefix(web.URL, "http://"), "hello", func(string) {})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestAskEndsWithItsContext(t *testing.T) {
	address := desktop(t, Whole(func(ctx context.Context, _ *artifact.Store, _ []byte, say func(string, ...any)) ([]byte, error) {
		say("begun")
		<-ctx.Done()
		return nil, ctx.Err()
	}))
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	_, err := Ask(ctx, address, nil, time.Millisecond, func(string) { cancel(enough) })
	if !errors.Is(err, enough) {
		t.Errorf("error %v", err)
	}
}

func TestServeRefuses(t *testing.T) {
	for url, want := range map[string]string{"": "no store", "ftp://x": "scheme"} {
		if err := serve(t.Context(), url, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", url, err)
		}
	}
	commands := Commands(map[string]Work{"report": nil, "gc": nil})
	if !slices.Equal(commands[0].ValidArgs, []string{"gc", "report"}) {
		t.Errorf("serve takes %q", commands[0].ValidArgs)
	}
	for _, args := range [][]string{{}, {"dream"}, {"gc", "report"}} {
		if commands[0].Args(commands[0], args) == nil {
			t.Errorf("serve takes %q", args)
		}
	}
}
