package errand

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spatialalign/operator/internal/contract"
)

// maxAnswer bounds an answer, in bytes, compressed or not: a report with all its videos is the largest.
const maxAnswer = 1 << 30

// RefusedError says that the work itself failed: asking again gives the same.
type RefusedError struct{ Message string }

// Error implements error.
func (e *RefusedError) Error() string { return e.Message }

// Ask a pod's server, which answers at an address, and wait for the answer. say gets the progress, when it
// has changed.
func Ask(ctx context.Context, address string, question []byte, every time.Duration, say func(string)) ([]byte, error) {
	c := caller{base: "http://" + address}
	if _, _, err := c.call(ctx, http.MethodPut, QuestionPath, question); err != nil {
		return nil, err
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for told := ""; ; {
		header, body, err := c.call(ctx, http.MethodGet, AnswerPath, nil)
		if err != nil {
			return nil, err
		}
		if want := header.Get(DigestHeader); want != "" {
			if got := contract.Digest(body); got != want {
				return nil, fmt.Errorf("%d bytes with digest %s arrived, %s was sent", len(body), got, want)
			}
			return decompress(body)
		}
		if progress := strings.TrimSpace(string(body)); progress != told {
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

// call gives the headers and the body of a successful answer. The final answer has a digest among its headers.
func (c caller) call(ctx context.Context, method, path string, body []byte) (http.Header, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	// A proxy must not see what the port-forward carries.
	direct := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true, DisableCompression: true}}
	response, err := direct.Do(request)
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%s %s: %w", method, path, err)
	case len(data) > maxAnswer:
		return nil, nil, fmt.Errorf("%s %s: more than %d bytes", method, path, maxAnswer)
	case response.StatusCode >= http.StatusInternalServerError:
		return nil, nil, fmt.Errorf("%s %s: %s", method, path, response.Status)
	case response.StatusCode >= http.StatusBadRequest:
		return nil, nil, &RefusedError{strings.TrimSpace(string(data))}
	}
	return response.Header, data, nil
}

func decompress(data []byte) ([]byte, error) {
	zip, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	var answer bytes.Buffer
	n, err := io.Copy(&answer, io.LimitReader(zip, maxAnswer+1))
	if err == nil && n > maxAnswer {
		err = errors.New("it is too large")
	}
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	return answer.Bytes(), nil
}
