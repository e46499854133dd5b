//go:build faults

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// ice freezes what an operator sees of a resource: its watches fall silent, and a cache that is filled anew is filled
// with the past, as by an API server that lags behind. Reads of single objects are live.
type ice struct {
	transport http.RoundTripper
	target    *url.URL

	mu     sync.Mutex
	frozen map[string]*frozen
}

type frozen struct {
	// version of the resource when it froze.
	version string
	thawed  chan struct{}
}

// freeze freezes the resource that is watched at a path, until thaw is called.
func (i *ice) freeze(ctx context.Context, path, resource string) (thaw func(), err error) {
	version, err := i.version(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("version of %s: %w", path, err)
	}
	f := &frozen{version: version, thawed: make(chan struct{})}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.frozen[resource] = f
	return func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		delete(i.frozen, resource)
		close(f.thawed)
	}, nil
}

// version is the newest version of a resource.
func (i *ice) version(ctx context.Context, path string) (string, error) {
	u := *i.target
	u.Path, u.RawQuery = path, "limit=1"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return "", err
	}
	res, err := i.transport.RoundTrip(req)
	if err != nil { // a busy machine may lose a connection that nothing has used for a while
		if res, err = i.transport.RoundTrip(req); err != nil {
			return "", err
		}
	}
	defer res.Body.Close()
	var list metav1.PartialObjectMetadataList
	if err := json.NewDecoder(res.Body).Decode(&list); err != nil {
		return "", err
	}
	return list.ResourceVersion, nil
}

func (i *ice) of(resource string) *frozen {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.frozen[resource]
}

// refuses makes a client that asks for a list in the form of a watch ask for a list, which can be answered with the past.
func (i *ice) refuses(c call) *apierrors.StatusError {
	if i.of(c.resource) == nil || !c.watch || c.URL.Query().Get("sendInitialEvents") == "" {
		return nil
	}
	return apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("ListOptions").GroupKind(), "",
		field.ErrorList{field.Forbidden(field.NewPath("sendInitialEvents"), "not while the resource is frozen")})
}

// age makes a cache's list of a frozen resource ask for its frozen version.
func (i *ice) age(c call) {
	f := i.of(c.resource)
	if f == nil || !c.list || !c.cached {
		return
	}
	query := c.URL.Query()
	query.Set("resourceVersion", f.version)
	query.Set("resourceVersionMatch", string(metav1.ResourceVersionMatchExact))
	c.URL.RawQuery = query.Encode()
}

// hold keeps what a watch says back while its resource is frozen.
func (i *ice) hold(ctx context.Context, resource string, body io.ReadCloser) io.ReadCloser {
	return &heldBody{body, func() {
		if f := i.of(resource); f != nil {
			select {
			case <-f.thawed:
			case <-ctx.Done():
			}
		}
	}}
}

type heldBody struct {
	io.ReadCloser
	wait func()
}

// Read returns what was read once it may be told.
func (h *heldBody) Read(b []byte) (int, error) {
	n, err := h.ReadCloser.Read(b)
	h.wait()
	return n, err
}
