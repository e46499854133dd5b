package errand

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// maxAnswer bounds an answer, in bytes, compressed or not: an export is the largest.
	maxAnswer = 1 << 30
	// maxText bounds progress and refusals.
	maxText = 1 << 20
)

// RefusedError says that the work itself failed: asking again gives the same.
type RefusedError struct{ Message string }

// Error implements error.
func (e *RefusedError) Error() string { return e.Message }

// Ask a pod's server, which answers at an address, and wait for the answer. say gets the progress, when it
// has changed.
func Ask(ctx context.Context, address string, question []byte, every time.Duration, say func(string)) ([]byte, error) {
	c := caller{base: "http://" + address}
	if err := c.call(ctx, http.MethodPut, QuestionPath, question, func(*http.Response) error { return nil }); err != nil {
		return nil, err
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for told := ""; ; {
		var answer []byte
		done, progress := false, ""
		err := c.call(ctx, http.MethodGet, AnswerPath, nil, func(response *http.Response) (err error) {
			if done = response.StatusCode == http.StatusOK; done {
				answer, err = receive(response)
			} else {
				progress, err = text(response)
			}
			return err
		})
		if err != nil || done {
			return answer, err
		}
		if progress != told {
			told = progress
			say(progress)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// caller makes requests through a port-forward.
type caller struct{ base string }

// call makes a request, and lets read take what a successful one brings.
func (c caller) call(ctx context.Context, method, path string, body []byte, read func(*http.Response) error) error {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	// A proxy must not see what the port-forward carries.
	direct := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true, DisableCompression: true}}
	response, err := direct.Do(request)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode >= http.StatusInternalServerError:
		return fmt.Errorf("%s %s: %s", method, path, response.Status)
	case response.StatusCode >= http.StatusBadRequest:
		refusal, err := text(response)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		return &RefusedError{refusal}
	}
	if err := read(response); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

// text is the few words of a response.
func text(response *http.Response) (string, error) {
	data, err := io.ReadAll(io.LimitReader(response.Body, maxText))
	return strings.TrimSpace(string(data)), err
}

// receive an answer, which counts only if all of it is what was sent.
func receive(response *http.Response) ([]byte, error) {
	digest := sha256.New()
	body := io.TeeReader(io.LimitReader(response.Body, maxAnswer+1), digest)
	answer, damage := decompress(body)
	if _, err := io.Copy(io.Discard, body); err != nil { // what is left; the trailers come behind it
		return nil, err
	}
	if problem := response.Trailer.Get(problemTrailer); problem != "" {
		return nil, &RefusedError{problem}
	}
	if got, want := fmt.Sprintf("sha256:%x", digest.Sum(nil)), response.Trailer.Get(DigestTrailer); got != want {
		return nil, fmt.Errorf("an answer with digest %s arrived, %q was sent", got, want)
	}
	return answer, damage
}

func decompress(data io.Reader) ([]byte, error) {
	zip, err := gzip.NewReader(data)
	if err != nil {
		return nil, err
	}
	var answer bytes.Buffer
	n, err := io.Copy(&answer, io.LimitReader(zip, maxAnswer+1))
	if err == nil && n > maxAnswer {
		err = errors.New("it is too large")
	}
	if err != nil {
		return nil, err
	}
	return answer.Bytes(), nil
}
