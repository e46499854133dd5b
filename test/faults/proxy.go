//go:build faults

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
)

// proxy stands between an operator and the API server, counts what is asked, and injects what its rules say.
type proxy struct {
	server   *httptest.Server
	upstream *httputil.ReverseProxy
	ice      ice

	mu    sync.Mutex
	rules []rule
	// asked counts requests by method and resource.
	asked map[string]int
	// watched is where each watched resource is watched.
	watched map[string]string
	// renewed is when a lease was last renewed, in time for whoever asked.
	renewed time.Time
}

// rule looks at a call and says what is to happen to it; nil: nothing out of the ordinary. Rules are asked one at a time.
type rule func(call) *effect

// effect is what becomes of a call.
type effect struct {
	// before happens while the call waits to be passed on.
	before func()
	// delay passes before anything else goes on.
	delay time.Duration
	// cut ends the connection without passing the call on.
	cut bool
	// refuse answers instead of the API server; with lose, after the API server has done what was asked.
	refuse *apierrors.StatusError
	// after happens once the API server has done what was asked.
	after func()
	// lose keeps the API server's answer from arriving.
	lose bool
}

// call is a request as the rules see it.
type call struct {
	*http.Request
	// resource with its subresource, such as "alignmentruns/status"; empty for discovery.
	resource string
	name     string
	// watch, list, and cached: the request fills a cache.
	watch, list, cached bool
}

func (c call) write() bool { return c.Method != http.MethodGet && c.resource != "" }

// passed is what the answer to a call must know of it.
type passed struct {
	*effect
	since time.Time
}

type passedKey struct{}

// newProxy starts a proxy in front of the API server.
func newProxy(admin *rest.Config) (*proxy, error) {
	transport, err := rest.TransportFor(admin)
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(admin.Host)
	if err != nil {
		return nil, err
	}
	p := &proxy{asked: map[string]int{}, watched: map[string]string{}, ice: ice{frozen: map[string]*frozen{}, transport: transport, target: target}}
	p.upstream = &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:      transport,
		FlushInterval:  -1, // watches
		ModifyResponse: p.answered,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	p.server = httptest.NewUnstartedServer(p)
	p.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.server.Start()
	return p, nil
}

// follow sets the rules; the first one that has an effect decides.
func (p *proxy) follow(rules ...rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = rules
}

// ServeHTTP counts a request and passes it on, or not.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := parse(r)
	e := p.decide(c)
	if e.before != nil {
		e.before()
	}
	if e.delay > 0 {
		select {
		case <-time.After(e.delay):
		case <-r.Context().Done():
		}
	}
	switch refused := p.ice.refuses(c); {
	case e.cut:
		panic(http.ErrAbortHandler)
	case e.refuse != nil && !e.lose:
		answer(w, e.refuse)
	case refused != nil:
		answer(w, refused)
	default:
		p.ice.age(c)
		p.upstream.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), passedKey{}, passed{e, time.Now()})))
	}
}

func (p *proxy) decide(c call) *effect {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.resource != "" {
		verb := c.Method
		if c.watch {
			verb = "WATCH"
			p.watched[c.resource] = c.URL.Path
		}
		p.asked[verb+" "+c.resource]++
	}
	for _, rule := range p.rules {
		if e := rule(c); e != nil {
			return e
		}
	}
	return &effect{}
}

var errLost = errors.New("the answer was lost")

// answered is called when the API server has answered.
func (p *proxy) answered(res *http.Response) error {
	e := res.Request.Context().Value(passedKey{}).(passed)
	if e.after != nil {
		e.after()
	}
	if e.lose {
		return errLost
	}
	c := parse(res.Request)
	if c.watch {
		res.Body = p.ice.hold(res.Request.Context(), c.resource, res.Body)
	}
	if c.resource == "leases" && c.write() && res.StatusCode < http.StatusBadRequest && time.Since(e.since) < time.Second {
		p.mu.Lock()
		p.renewed = time.Now()
		p.mu.Unlock()
	}
	return nil
}

// starved says that the operator could renew no lease for as long as a leader may go without: it must end then.
func (p *proxy) starved() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.renewed.IsZero() && time.Since(p.renewed) >= renewDeadline
}

// renewDeadline is controller-runtime's.
const renewDeadline = 10 * time.Second

func answer(w http.ResponseWriter, refusal *apierrors.StatusError) {
	status := refusal.Status()
	status.Kind, status.APIVersion = "Status", "v1"
	w.Header().Set("Content-Type", "application/json")
	if status.Details != nil && status.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(int(status.Code))
	_ = json.NewEncoder(w).Encode(status)
}

// watches are the resources that the operator watches.
func (p *proxy) watches() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.watched))
}

// freeze freezes what the operator sees of a resource that it watches.
func (p *proxy) freeze(ctx context.Context, resource string) (thaw func(), err error) {
	p.mu.Lock()
	path := p.watched[resource]
	p.mu.Unlock()
	return p.ice.freeze(ctx, path, resource)
}

// requests are all requests so far but discovery, and how many of them were writes.
func (p *proxy) requests() (total, writes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for kind, n := range p.asked {
		total += n
		if !strings.HasPrefix(kind, http.MethodGet) && !strings.HasPrefix(kind, "WATCH") {
			writes += n
		}
	}
	return total, writes
}

// parse says what a request is about.
func parse(r *http.Request) call {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	skip := 2 // api/v1
	if parts[0] == "apis" {
		skip = 3
	}
	c, query := call{Request: r}, r.URL.Query()
	parts = parts[min(skip, len(parts)):]
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	if len(parts) > 0 {
		c.resource = parts[0]
	}
	if len(parts) > 1 {
		c.name = parts[1]
	}
	if len(parts) > 2 {
		c.resource += "/" + parts[2]
	}
	c.watch = query.Get("watch") != "" && query.Get("watch") != "false"
	c.list = r.Method == http.MethodGet && c.name == "" && !c.watch
	// A cache asks for pages or for a version; a live list does not.
	c.cached = c.watch || c.list && (query.Has("resourceVersion") || query.Has("limit"))
	return c
}
