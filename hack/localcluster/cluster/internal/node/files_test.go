package node

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/layout"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func testSettings() Settings {
	return Settings{
		Bin:     "/cache/bin",
		Subnet:  netip.MustParsePrefix("10.199.0.4/30"),
		GPUs:    4,
		Volumes: 6,
		Found:   Found{Snapshotter: "overlayfs", Started: time.Unix(1_700_000_000, 0).UTC()},
	}
}

func TestConfigurationFiles(t *testing.T) {
	l := layout.Layout{Dir: "/checkout/.local/cluster", ID: "0123abcd"}
	for name := range configFiles {
		got, err := render(name, l, testSettings())
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s differs from %s:\n%s", name, golden, got)
		}
	}
}

func TestWrittenFilesLeadToTheAPI(t *testing.T) {
	l, err := layout.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := writeFiles(l, testSettings()); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"admin": l.Kubeconfig()}
	for _, identity := range identities[1:] {
		files[identity.Name] = l.Path("conf", identity.Name+".kubeconfig")
	}
	tokens := map[string]string{}
	for name, file := range files {
		config, err := clientcmd.BuildConfigFromFlags("", file)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if config.Host != "https://10.199.0.6:6443" || len(config.CAData) == 0 || config.BearerToken == "" {
			t.Errorf("%s: host %s, %d bytes of authority, token %q", name, config.Host, len(config.CAData), config.BearerToken)
		}
		if other, taken := tokens[config.BearerToken]; taken {
			t.Errorf("%s and %s have the same token", name, other)
		}
		tokens[config.BearerToken] = name
	}
}

func TestSettingsSurviveTheirFile(t *testing.T) {
	l, err := layout.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load(l); err == nil {
		t.Error("settings were loaded that nobody saved")
	}
	want := testSettings()
	if err := want.Save(l); err != nil {
		t.Fatal(err)
	}
	if got, err := Load(l); err != nil || got != want {
		t.Errorf("loaded %+v, %v; want %+v", got, err, want)
	}
}

func TestWhatIsFoundMakesNoOtherCluster(t *testing.T) {
	running, wanted := testSettings(), testSettings()
	wanted.Found = Found{}
	if !running.Same(wanted) {
		t.Error("a running cluster is not the one that was asked for")
	}
	wanted.GPUs++
	if running.Same(wanted) {
		t.Error("a cluster with other GPUs is the same")
	}
}
