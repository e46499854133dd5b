//go:build faults

package faults

import (
	"context"
	"fmt"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// Item 5: the leader freezes in the middle of a write, another takes over, and the old one comes back with what it had
// in hand: a write that arrives a minute late, and caches of then.
func TestStoppedLeader(t *testing.T) {
	t.Parallel()
	u, rounds, pairs := references[3].get(t), 1, 2
	if full {
		rounds, pairs = 5, 10
	}
	report.describe(5, "leader stopped for 60 s in the middle of a write and resumed beside the new leader")
	for pair := range pairs {
		t.Run(fmt.Sprint(pair), func(t *testing.T) {
			t.Parallel()
			c, namespace := shared, shared.namespace(t, fmt.Sprintf("leader-%d", pair))
			leader := c.operate(t, namespace+"-a", []string{namespace}, "--leader-elect")
			if err := eventually(t.Context(), time.Minute, "the first leads", func() bool { return c.leader(t.Context(), namespace) != "" }); err != nil {
				t.Fatal(err)
			}
			other := c.operate(t, namespace+"-b", []string{namespace}, "--leader-elect")
			for round := range rounds {
				err := c.stopLeader(t, namespace, pair*rounds+round, u, leader)
				report.tried(t, 5, 1, err)
				leader, other = other, leader
			}
		})
	}
}

// stopLeader plays one round, with one run that goes on while the leader is stopped and one while it comes back.
func (c *cluster) stopLeader(t *testing.T, namespace string, turn int, u undisturbed, leader *operator) error {
	t.Helper()
	const away = time.Minute
	was, stopped := c.leader(t.Context(), namespace), make(chan time.Time, 1)
	// Every round stops at another write.
	stop := every(1+turn*23%(u.writes-20), u.writes, u.writes)
	leader.proxy.follow(notLeases(at(stop, effect{delay: away, before: func() {
		leader.stop()
		stopped <- time.Now()
	}})))
	first, second := alignmentRun(namespace, fmt.Sprintf("first-%d", turn), 3), alignmentRun(namespace, fmt.Sprintf("second-%d", turn), 3)
	c.create(t, first)
	since := <-stopped
	err := eventually(t.Context(), 30*time.Second, "another leads", func() bool {
		now := c.leader(t.Context(), namespace)
		return now != "" && now != was
	})
	if err != nil {
		return err
	}
	report.longest(5, "takeover", time.Since(since))
	<-time.After(away - 15*time.Second - time.Since(since))
	c.create(t, second)
	<-time.After(away - time.Since(since))
	leader.resume()
	for _, run := range []*v1alpha1.AlignmentRun{first, second} {
		if err := c.ends(t.Context(), run); err != nil {
			return err
		}
		if err := c.same(t.Context(), run, u.end); err != nil {
			return err
		}
	}
	leader.proxy.follow()
	return nil
}

// notLeases leaves the leader election's own writes alone.
func notLeases(r rule) rule {
	return func(c call) *effect {
		if c.resource == "leases" {
			return nil
		}
		return r(c)
	}
}

// leader is who holds the lease; empty when nobody does.
func (c *cluster) leader(ctx context.Context, namespace string) string {
	var lease coordinationv1.Lease
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "spatialalign-operator"}, &lease); err != nil {
		return ""
	}
	return ptr.Deref(lease.Spec.HolderIdentity, "")
}
