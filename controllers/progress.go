package controllers

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/spatialalign/operator/internal/contract"
)

// ProgressReader reads what a stage's running pods report of themselves. What they say is for people
// only: nil when nothing could be read, never an error.
type ProgressReader interface {
	Read(ctx context.Context, pods []corev1.Pod) *contract.Progress
}

// HTTPProgress asks each running pod at its own address.
type HTTPProgress struct {
	client *http.Client
}

// NewHTTPProgress makes a reader that follows no redirects and waits a second for a pod.
func NewHTTPProgress() *HTTPProgress {
	return &HTTPProgress{client: &http.Client{
		Timeout:       time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true},
	}}
}

// Read asks all running pods at once and adds up what they say.
func (h *HTTPProgress) Read(ctx context.Context, pods []corev1.Pod) *contract.Progress {
	answers := make(chan *contract.Progress, len(pods))
	asked := 0
	for i := range pods {
		if p := &pods[i]; p.Status.Phase == corev1.PodRunning && p.Status.PodIP != "" {
			asked++
			go func() { answers <- h.ask(ctx, p.Status.PodIP) }()
		}
	}
	var sum *contract.Progress
	for range asked {
		sum = merge(sum, <-answers)
	}
	return sum
}

func (h *HTTPProgress) ask(ctx context.Context, ip string) *contract.Progress {
	url := fmt.Sprintf("http://%s/progress", net.JoinHostPort(ip, strconv.Itoa(contract.ProgressPort)))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil
	}
	res, err := h.client.Do(req)
	if err != nil {
		return nil
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, contract.MaxProgress+1))
	if err != nil {
		return nil
	}
	p, err := contract.ParseProgress(data)
	if err != nil {
		return nil
	}
	return p
}

// merge adds the shards' items up; the slowest shard's remaining time is the stage's.
func merge(sum, p *contract.Progress) *contract.Progress {
	if p == nil {
		return sum
	}
	if sum == nil {
		return p
	}
	sum.Done += p.Done
	sum.Total += p.Total
	if sum.Total > 0 {
		sum.ProgressPercentage = int32(100 * sum.Done / sum.Total)
	}
	sum.EstimatedRemainingSeconds = max(sum.EstimatedRemainingSeconds, p.EstimatedRemainingSeconds)
	return sum
}
