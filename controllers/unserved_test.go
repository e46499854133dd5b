package controllers

import (
	"context"
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// That the API server does not know the kind, as after an upgrade of Kueue, tells nothing about whether the Workload of a run is
// there: no stage may be deleted by that. Only that there is no such object does.
func TestAnUnknownKindIsNoMissingWorkload(t *testing.T) {
	resource := schema.GroupResource{Group: "kueue.x-k8s.io", Resource: "workloads"}
	for name, c := range map[string]struct {
		answer error
		known  bool
	}{
		"the object does not exist":        {apierrors.NewNotFound(resource, "w"), true},
		"the version is not served":        {apierrors.NewGenericServerResponse(http.StatusNotFound, "get", resource, "w", "404 page not found", 0, true), false},
		"discovery does not know the kind": {&meta.NoKindMatchError{GroupKind: workloadKind, SearchedVersions: []string{"v1beta2"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			asks := &v1alpha1.SchedulingSpec{QueueName: "gpus", Reservation: v1alpha1.ReservationRun}
			run, _ := reserving(t, asks, asks)
			e := engineWithKueue(interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
				return c.answer
			}})
			for _, look := range []string{"at once", "when it looks again"} {
				reservation, err := e.reservation(t.Context(), run)
				if err != nil {
					t.Fatal(err)
				}
				if reservation.Known != c.known || reservation.Object != nil || reservation.Absent {
					t.Errorf("%s: %+v", look, reservation)
				}
				if !c.known && reservation.Trouble == "" {
					t.Errorf("%s: it does not say what is the matter", look)
				}
			}
			if q, version := e.Kueue.served(); c.known != (version == "v1beta2") || !c.known && !strings.Contains(q.Trouble, "does not serve") {
				t.Errorf("the version %q still counts: %+v", version, q)
			}
		})
	}
}
