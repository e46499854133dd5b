//go:build linux

package host

import (
	"net/netip"
	"testing"

	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/layout"
)

func TestTheFirstSubnetThatNobodyUsesIsTaken(t *testing.T) {
	l, err := layout.New("/srv/one")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		taken []netip.Prefix
		want  netip.Prefix
	}{
		"an idle machine":        {nil, l.Subnet(0)},
		"other networks":         {[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("fe80::/64")}, l.Subnet(0)},
		"the first one is used":  {[]netip.Prefix{l.Subnet(0)}, l.Subnet(1)},
		"the first two are used": {[]netip.Prefix{l.Subnet(1), l.Subnet(0)}, l.Subnet(2)},
	}
	for name, test := range tests {
		got, err := firstFree(l, test.taken)
		if err != nil || got != test.want {
			t.Errorf("%s: %v, %v; want %v", name, got, err, test.want)
		}
	}
	if got, err := firstFree(l, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}); err == nil {
		t.Errorf("the whole range is used, and yet %v is free", got)
	}
}
