package controllers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// deferral is what is known of an object and the cache does not show: a status that was planned and waits to be written, or whose
// write came to nothing, and the version that the last write made. It must not be forgotten: otherwise a child that somebody
// deletes meanwhile would look as if it had never been, and be made again under its name.
type deferral struct {
	uid               types.UID
	recorded, planned any
	// urgent says that its write came to nothing, and must be tried again.
	urgent bool
	// version that our own last write made, and the older ones, that the cache may still show. What is planned from an older
	// one goes by this one, so that nobody has to wait until the cache has caught up. Empty when nothing was written.
	version string
	older   []string
}

// recall puts the status that was planned last in the place of the one that the cache shows, as long as nobody else has written
// since. It returns the recorded one, and whether the planned one should have been written.
func recall[Status any](e *Engine, o client.Object, status *Status) (recorded *Status, urgent bool) {
	was := *status
	v, ok := e.deferred.Load(deferralKey(o))
	if !ok {
		return &was, false
	}
	d := v.(deferral)
	behind := slices.Contains(d.older, o.GetResourceVersion())
	if d.uid != o.GetUID() || !behind && !equality.Semantic.DeepEqual(d.recorded, was) {
		if d.uid == o.GetUID() && d.urgent && same(d.planned, was) {
			was = d.recorded.(Status)
			return &was, true // the answer was lost, not the write: written once more, it tells what follows from it
		}
		forget(e, o) // the cache shows something newer
		return &was, false
	}
	if behind {
		was = d.recorded.(Status)
		o.SetResourceVersion(d.version)
	} else if d.version != "" {
		d.version, d.older = "", nil
		if equality.Semantic.DeepEqual(d.recorded, d.planned) {
			forget(e, o)
		} else {
			e.deferred.Store(deferralKey(o), d)
		}
	}
	*status = d.planned.(Status)
	return &was, d.urgent
}

// same says that the API server holds two statuses as the same: it keeps times by the second.
func same(a, b any) bool {
	one, err := json.Marshal(a)
	other, err2 := json.Marshal(b)
	return err == nil && err2 == nil && bytes.Equal(one, other)
}

// written keeps what was just written over a version, until the cache shows it.
func written[Status any](e *Engine, o client.Object, over string, status *Status) {
	if over == o.GetResourceVersion() {
		forget(e, o) // the version that the cache shows held it already
		return
	}
	older := []string{over}
	if v, ok := e.deferred.Load(deferralKey(o)); ok && v.(deferral).version == over {
		older = append(slices.Clone(v.(deferral).older), over)
	}
	e.deferred.Store(deferralKey(o), deferral{uid: o.GetUID(), recorded: *status, planned: *status, version: o.GetResourceVersion(), older: older})
}

// remember keeps a status that was planned and not written.
func remember[Status any](e *Engine, o client.Object, recorded, planned *Status, urgent bool) {
	d := deferral{uid: o.GetUID(), recorded: *recorded, planned: *planned, urgent: urgent}
	if v, ok := e.deferred.Load(deferralKey(o)); ok && v.(deferral).version == o.GetResourceVersion() {
		d.version, d.older = v.(deferral).version, v.(deferral).older
	}
	if d.version == "" && equality.Semantic.DeepEqual(recorded, planned) {
		forget(e, o)
		return
	}
	e.deferred.Store(deferralKey(o), d)
}

// forget drops what is remembered of an object that the cache shows as it is.
func forget(e *Engine, o client.Object) { e.deferred.Delete(deferralKey(o)) }

// bury drops all that is remembered of an object that is gone.
func bury(e *Engine, o client.Object) {
	forget(e, o)
	e.wrote.Delete(deferralKey(o))
	e.delays.over(o)
	e.rooms.want(o, false, nil, e.Clock.Now())
}

func deferralKey(o client.Object) string {
	return fmt.Sprintf("%T %s/%s", o, o.GetNamespace(), o.GetName())
}
