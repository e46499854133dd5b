package devices

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pluginapi "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// kubelet is the kubelet's half of the device plugin protocol.
type kubelet struct {
	pluginapi.UnimplementedRegistrationServer
	registered chan *pluginapi.RegisterRequest
}

func (k *kubelet) Register(_ context.Context, request *pluginapi.RegisterRequest) (*pluginapi.Empty, error) {
	k.registered <- request
	return &pluginapi.Empty{}, nil
}

// startKubelet removes all sockets of the folder, as a kubelet does, and serves its own.
func startKubelet(t *testing.T, dir string) (*kubelet, *grpc.Server) {
	t.Helper()
	sockets, err := filepath.Glob(filepath.Join(dir, "*.sock"))
	if err != nil {
		t.Fatal(err)
	}
	for _, socket := range sockets {
		if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("unix", filepath.Join(dir, "kubelet.sock"))
	if err != nil {
		t.Fatal(err)
	}
	k := &kubelet{registered: make(chan *pluginapi.RegisterRequest, 1)}
	server := grpc.NewServer()
	pluginapi.RegisterRegistrationServer(server, k)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return k, server
}

func TestEachKubeletGetsTheDevices(t *testing.T) {
	// A socket's path has at most 108 bytes: the test's own temporary folder may be too deep.
	dir, err := os.MkdirTemp("", "plugin")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	plugin := &Plugin{Count: 3, Dir: dir}
	stopped := make(chan struct{})
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(func() { stop(); <-stopped })
	go func() {
		defer close(stopped)
		_ = plugin.Serve(ctx)
	}()
	for range 2 {
		k, server := startKubelet(t, dir)
		request := <-k.registered
		if request.ResourceName != Resource || request.Version != pluginapi.Version {
			t.Errorf("registered %v", request)
		}
		checkDevices(t, filepath.Join(dir, request.Endpoint), 3)
		server.Stop()
	}
}

func checkDevices(t *testing.T, socket string, want int) {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	client := pluginapi.NewDevicePluginClient(conn)
	stream, err := client.ListAndWatch(ctx, &pluginapi.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, device := range list.Devices {
		ids[device.ID] = device.Health == pluginapi.Healthy
	}
	if len(ids) != want {
		t.Fatalf("devices %v, want %d", ids, want)
	}
	allocated, err := client.Allocate(ctx, &pluginapi.AllocateRequest{ContainerRequests: []*pluginapi.ContainerAllocateRequest{
		{DevicesIds: []string{"local-gpu-0", "local-gpu-2"}}, {DevicesIds: []string{"local-gpu-1"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := allocated.ContainerResponses; len(got) != 2 || got[0].Envs["LOCAL_GPU_IDS"] != "local-gpu-0,local-gpu-2" {
		t.Errorf("allocated %v", got)
	}
}
