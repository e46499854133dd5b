package controllers_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// counter counts what an operator asks of the API server. It leaves out watches, which a cache opens once, discovery,
// and status writes that carry nothing new but progress. Where the Jobs of a test take no time at all, watches of two
// kinds overtake each other as they hardly do in a cluster: what that costs (conflicts, live reads) is counted apart.
type counter struct {
	sync.Mutex
	byKind map[string]int
	// races by kind.
	races    map[string]int
	progress int
	// recorded is the last status written to a path, without its progress.
	recorded map[string]string
}

func newCounter() *counter {
	return &counter{byKind: map[string]int{}, races: map[string]int{}, recorded: map[string]string{}}
}

func (c *counter) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		body, err := peek(req)
		if err != nil {
			return nil, err
		}
		res, err := next.RoundTrip(req)
		if err == nil {
			c.count(req, body, res.StatusCode)
		}
		return res, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func peek(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(req.Body)
	req.Body = io.NopCloser(bytes.NewReader(body))
	return body, err
}

func (c *counter) count(req *http.Request, body []byte, answer int) {
	resource, cached := resourceOf(req)
	if resource == "" || cached {
		return
	}
	c.Lock()
	defer c.Unlock()
	if req.Method == http.MethodPut && strings.HasSuffix(resource, "/status") {
		status := withoutProgress(body)
		if c.recorded[req.URL.Path] == status {
			c.progress++
			return
		}
		c.recorded[req.URL.Path] = status
	}
	kind := req.Method + " " + resource
	if answer == http.StatusConflict || req.Method == http.MethodGet {
		c.races[fmt.Sprintf("%s (%d)", kind, answer)]++
		return
	}
	c.byKind[kind]++
}

// resourceOf is the resource that a request is about, with its subresource; empty for discovery. cached says that
// the request fills a cache.
func resourceOf(req *http.Request) (resource string, cached bool) {
	parts := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
	if parts[0] == "apis" {
		parts = parts[min(3, len(parts)):]
	} else {
		parts = parts[min(2, len(parts)):]
	}
	namespaced := len(parts) > 2 && parts[0] == "namespaces"
	if namespaced {
		parts = parts[2:]
	}
	if len(parts) == 0 {
		return "", false
	}
	resource = parts[0]
	if len(parts) == 3 {
		resource += "/" + parts[2]
	}
	q := req.URL.Query()
	// A cache asks for pages or for a version; a live list does not.
	return resource, q.Get("watch") != "" || req.Method == http.MethodGet && len(parts) == 1 && (q.Has("resourceVersion") || q.Has("limit"))
}

func withoutProgress(body []byte) string {
	var o struct {
		Status map[string]any `json:"status"`
	}
	if err := json.Unmarshal(body, &o); err != nil {
		return err.Error()
	}
	delete(o.Status, "progress")
	data, err := json.Marshal(o.Status)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// total of all requests but progress writes and races.
func (c *counter) total() int {
	c.Lock()
	defer c.Unlock()
	n := 0
	for _, k := range c.byKind {
		n += k
	}
	return n
}

// String lists the requests by kind.
func (c *counter) String() string {
	c.Lock()
	defer c.Unlock()
	return fmt.Sprintf("%s; races: %s; progress writes: %d", list(c.byKind), list(c.races), c.progress)
}

func list(counts map[string]int) string {
	var lines []string
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		lines = append(lines, fmt.Sprintf("%s %d", kind, counts[kind]))
	}
	return strings.Join(lines, ", ")
}
