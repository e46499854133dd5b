package dispatch

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// PortForward gives the Forward of a real cluster: WebSocket first, SPDY where a proxy or an older
// API server does not pass that, on a free port of the local loopback.
func PortForward(config *rest.Config) func(ctx context.Context, namespace, pod string, port int) (string, func(), error) {
	return func(ctx context.Context, namespace, pod string, port int) (string, func(), error) {
		dialer, err := dialer(config, namespace, pod)
		if err != nil {
			return "", nil, err
		}
		stop, ready, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
		forwarder, err := portforward.NewOnAddressesForStreaming(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)}, stop, ready, io.Discard, io.Discard)
		if err != nil {
			return "", nil, err
		}
		var failure error // may be read once ended is closed
		go func() {
			defer close(ended)
			failure = forwarder.ForwardPorts()
		}()
		closeIt := func() {
			close(stop)
			<-ended
		}
		select {
		case <-ready:
		case <-ended:
			return "", nil, failure
		case <-ctx.Done():
			close(stop)
			return "", nil, ctx.Err()
		}
		ports, err := forwarder.GetPorts()
		if err != nil {
			closeIt()
			return "", nil, err
		}
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ports[0].Local))), closeIt, nil
	}
}

func dialer(config *rest.Config, namespace, pod string) (httpstream.Dialer, error) {
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	url := clients.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	websocket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, config)
	if err != nil {
		return nil, err
	}
	return portforward.NewFallbackDialerForStreaming(websocket, spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, url), func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}
