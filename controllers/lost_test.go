package controllers_test

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// refuse lets the status writes that c.conflicts names meet a conflict, as if somebody had just written the object.
func (c *cluster) refuse(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		body, err := peek(req)
		if err != nil {
			return nil, err
		}
		conflicts := c.conflicts.Load()
		if req.Method != http.MethodPut || !strings.HasSuffix(req.URL.Path, "/status") || conflicts == nil || !(*conflicts)(body) {
			return next.RoundTrip(req)
		}
		answer := `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Conflict","code":409}`
		return &http.Response{
			StatusCode: http.StatusConflict, Header: http.Header{"Content-Type": {"application/json"}}, Request: req,
			Body: io.NopCloser(strings.NewReader(answer)), ContentLength: int64(len(answer)),
		}, nil
	})
}

// A Job is made, the write that would record it comes to nothing, and somebody deletes the Job: the next attempt has another
// name. What the lost write would have told is recorded and told all the same.
func TestJobDeletedBeforeItIsRecorded(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.hold[v1alpha1.StageTrain] = true
	c.conflicts.Store(new(func(body []byte) bool { return bytes.Contains(body, []byte(`"name":"Train"`)) }))
	c.operate(often)
	run := c.run(1)
	c.create(c.runtime(), run)
	job := c.job(v1alpha1.StageTrain, 0)
	c.must(c.Delete(t.Context(), job, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	c.until("its Job is gone", func() bool {
		var same batchv1.Job
		err := c.Get(t.Context(), client.ObjectKeyFromObject(job), &same)
		return apierrors.IsNotFound(err) || same.UID != job.UID
	})
	<-time.After(300 * time.Millisecond) // for a second Job of that attempt, if there is to be one
	c.conflicts.Store(nil)
	c.job(v1alpha1.StageTrain, 1)
	if got := c.attempts(); slices.Contains(got, "AlignmentRun 1 Train/0") {
		t.Errorf("attempt 0 of Train has a second Job: %v", got)
	}
	clear(c.hold)
	c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
	if s := stage(t, run, 1, v1alpha1.StageTrain); *s.Attempt != 1 || s.Failures != 0 {
		t.Errorf("train: %+v", s)
	}
	c.checkEvents(run, map[string]int{"IterationCompleted": 1, "IterationsCompleted": 1})
}
