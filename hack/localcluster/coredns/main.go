// Coredns is the cluster's DNS server: CoreDNS with the plugins that name Services and pods, and no others. All of them
// would bring the clients of several clouds, and take as long to compile as the control plane's smaller half.
package main

import (
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
)

func main() { coremain.Run() }
