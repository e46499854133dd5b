//go:build linux

package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"

	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/layout"
)

// FreeSubnet returns the first of the layout's subnets that no interface of the machine, other than the cluster's own,
// has an address in.
func FreeSubnet(l layout.Layout) (netip.Prefix, error) {
	taken, err := addresses(l.Link())
	if err != nil {
		return netip.Prefix{}, err
	}
	return firstFree(l, taken)
}

func firstFree(l layout.Layout, taken []netip.Prefix) (netip.Prefix, error) {
	for attempt := range 64 {
		candidate := l.Subnet(attempt)
		free := true
		for _, used := range taken {
			free = free && !used.Overlaps(candidate)
		}
		if free {
			return candidate, nil
		}
	}
	return netip.Prefix{}, errors.New("the machine uses 10.199.0.0/16, from which the cluster takes its network")
}

func addresses(except string) ([]netip.Prefix, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("addresses of the machine: %w", err)
	}
	var found []netip.Prefix
	for _, i := range interfaces {
		if i.Name == except {
			continue
		}
		// An interface that went away in between has no addresses.
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, addr := range addrs {
			if prefix, err := netip.ParsePrefix(addr.String()); err == nil {
				found = append(found, prefix.Masked())
			}
		}
	}
	return found, nil
}

// Connect lays a cable from the machine into the network namespace of a process, where its end is called eth0.
func Connect(ctx context.Context, l layout.Layout, subnet netip.Prefix, pid int) error {
	if err := Disconnect(ctx, l); err != nil {
		return err
	}
	for _, args := range []string{
		"link add " + l.Link() + " type veth peer name eth0 netns " + strconv.Itoa(pid),
		"addr add " + layout.HostAddress(subnet).String() + "/30 dev " + l.Link(),
		"link set " + l.Link() + " up",
	} {
		if err := IP(ctx, args); err != nil {
			return err
		}
	}
	return nil
}

// Disconnect removes the cable of an earlier cluster; the kernel does so too, but some time after its death.
func Disconnect(ctx context.Context, l layout.Layout) error {
	if !connected(l) {
		return nil
	}
	if err := IP(ctx, "link del "+l.Link()); err != nil && connected(l) {
		return err
	}
	return nil
}

func connected(l layout.Layout) bool {
	_, err := net.InterfaceByName(l.Link())
	return err == nil
}

// IP runs one command of iproute2.
func IP(ctx context.Context, args string) error {
	output, err := exec.CommandContext(ctx, "ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, strings.TrimSpace(string(output)))
	}
	return nil
}
