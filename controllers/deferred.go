package controllers

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// deferral is a status that was planned and that the cache does not show: it may wait to be written, its write came to nothing,
// or the cache is behind. It must not be forgotten: otherwise a child that somebody deletes meanwhile would look as if it had
// never been, and be made again under its name.
type deferral struct {
	uid               types.UID
	recorded, planned any
	// urgent says that its write came to nothing, and must be tried again.
	urgent bool
}

// recall puts the status that was planned last in the place of the recorded one, as long as that is still the same. It
// returns the recorded one, and whether the planned one should have been written.
func recall[Status any](e *Engine, o client.Object, status *Status) (recorded *Status, urgent bool) {
	was := *status
	v, ok := e.deferred.Load(deferralKey(o))
	if !ok {
		return &was, false
	}
	d := v.(deferral)
	if d.uid != o.GetUID() || !equality.Semantic.DeepEqual(d.recorded, was) {
		forget(e, o) // the cache shows it, or something newer
		return &was, false
	}
	*status = d.planned.(Status)
	return &was, d.urgent
}

// remember keeps a status that the cache does not show yet.
func remember[Status any](e *Engine, o client.Object, recorded, planned *Status, urgent bool) {
	if equality.Semantic.DeepEqual(recorded, planned) {
		forget(e, o)
		return
	}
	e.deferred.Store(deferralKey(o), deferral{o.GetUID(), *recorded, *planned, urgent})
}

// forget drops what is remembered of an object that the cache shows as it is.
func forget(e *Engine, o client.Object) { e.deferred.Delete(deferralKey(o)) }

// bury drops all that is remembered of an object that is gone.
func bury(e *Engine, o client.Object) {
	forget(e, o)
	e.rooms.want(o, false)
}

func deferralKey(o client.Object) string {
	return fmt.Sprintf("%T %s/%s", o, o.GetNamespace(), o.GetName())
}
