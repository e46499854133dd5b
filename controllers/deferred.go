package controllers

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// deferral is a status that was planned and not written: it may wait, but must not be forgotten. Otherwise a child that
// somebody deletes meanwhile would look as if it had never been, and be made again under its name.
type deferral struct {
	uid               types.UID
	recorded, planned any
}

// recall puts the status that was planned last in the place of the recorded one, as long as that is still the same, and
// returns the recorded one.
func recall[Status any](e *Engine, o client.Object, status *Status) (recorded *Status) {
	was := *status
	if v, ok := e.deferred.Load(deferralKey(o)); ok {
		d := v.(deferral)
		if d.uid == o.GetUID() && equality.Semantic.DeepEqual(d.recorded, was) {
			*status = d.planned.(Status)
		}
	}
	return &was
}

// remember keeps a status that was not written.
func remember[Status any](e *Engine, o client.Object, recorded, planned *Status) {
	if equality.Semantic.DeepEqual(recorded, planned) {
		forget(e, o)
		return
	}
	e.deferred.Store(deferralKey(o), deferral{o.GetUID(), *recorded, *planned})
}

// forget drops what is remembered of an object that was written, or is gone.
func forget(e *Engine, o client.Object) { e.deferred.Delete(deferralKey(o)) }

func deferralKey(o client.Object) string {
	return fmt.Sprintf("%T %s/%s", o, o.GetNamespace(), o.GetName())
}
