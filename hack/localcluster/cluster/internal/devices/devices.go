// Package devices is a device plugin whose GPUs exist in name only: the scheduler, quotas and Jobs count them as they
// would count real ones. Unlike a patched node status they survive a restart of the kubelet.
package devices

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pluginapi "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// Resource is the name under which pods ask for a device.
const Resource = "nvidia.com/gpu"

const (
	socketName = "local-gpus.sock"
	// poll is how often the plugin looks for a kubelet that has started anew.
	poll = 500 * time.Millisecond
)

// Plugin advertises Count devices to the kubelet whose sockets are in Dir.
type Plugin struct {
	pluginapi.UnimplementedDevicePluginServer
	Count int
	Dir   string
}

// Serve registers with the kubelet, and again with each kubelet that replaces it, until the context ends.
func (p *Plugin) Serve(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := p.serveOnce(ctx); err != nil {
			log.Printf("the kubelet does not take the devices yet: %v", err)
			sleep(ctx, poll)
		}
	}
	return ctx.Err()
}

// serveOnce serves one kubelet for as long as it lives: a new one removes the sockets of all plugins as it starts.
func (p *Plugin) serveOnce(ctx context.Context) error {
	kubelet := filepath.Join(p.Dir, "kubelet.sock")
	if _, err := os.Stat(kubelet); err != nil {
		return err
	}
	own := filepath.Join(p.Dir, socketName)
	if err := os.Remove(own); err != nil && !os.IsNotExist(err) {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", own)
	if err != nil {
		return err
	}
	// A socket that a new kubelet has put at the same path is not this listener's to remove.
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	server := grpc.NewServer()
	pluginapi.RegisterDevicePluginServer(server, p)
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(listener) }()
	defer server.Stop()
	if err := register(ctx, kubelet); err != nil {
		return err
	}
	log.Printf("registered %d of %s", p.Count, Resource)
	for ctx.Err() == nil {
		select {
		case err := <-stopped:
			return err
		default:
			sleep(ctx, poll)
		}
		if _, err := os.Stat(own); err != nil {
			return fmt.Errorf("a new kubelet has started: %w", err)
		}
	}
	return ctx.Err()
}

func register(ctx context.Context, kubelet string) error {
	conn, err := grpc.NewClient("unix://"+kubelet, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err = pluginapi.NewRegistrationClient(conn).Register(ctx, &pluginapi.RegisterRequest{
		Version:      pluginapi.Version,
		Endpoint:     socketName,
		ResourceName: Resource,
	})
	return err
}

// GetDevicePluginOptions says that the plugin has no optional calls.
func (p *Plugin) GetDevicePluginOptions(context.Context, *pluginapi.Empty) (*pluginapi.DevicePluginOptions, error) {
	return &pluginapi.DevicePluginOptions{}, nil
}

// ListAndWatch names the devices, all healthy, once: nothing about them ever changes.
func (p *Plugin) ListAndWatch(_ *pluginapi.Empty, stream pluginapi.DevicePlugin_ListAndWatchServer) error {
	devices := make([]*pluginapi.Device, p.Count)
	for i := range devices {
		devices[i] = &pluginapi.Device{ID: fmt.Sprintf("local-gpu-%d", i), Health: pluginapi.Healthy}
	}
	if err := stream.Send(&pluginapi.ListAndWatchResponse{Devices: devices}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

// Allocate tells containers which devices they got; there is nothing to mount.
func (p *Plugin) Allocate(_ context.Context, request *pluginapi.AllocateRequest) (*pluginapi.AllocateResponse, error) {
	response := &pluginapi.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		response.ContainerResponses = append(response.ContainerResponses, &pluginapi.ContainerAllocateResponse{
			Envs: map[string]string{"LOCAL_GPU_IDS": strings.Join(container.DevicesIds, ",")},
		})
	}
	return response, nil
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
