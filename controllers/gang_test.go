package controllers_test

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// A training on several nodes comes with the Service by which its pods find each other. It is the Job's, and made again
// when it is lost.
func TestAGangHasItsService(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.hold[v1alpha1.StageTrain] = true
	c.operate(often)
	run := c.run(1)
	run.Spec.Training = &v1alpha1.TrainingSpec{Nodes: 2}
	c.create(c.runtime(), run)
	job := c.job(v1alpha1.StageTrain, 0)
	if *job.Spec.Completions != 2 || *job.Spec.Parallelism != 2 || job.Spec.Template.Spec.Subdomain != job.Name {
		t.Errorf("the Job has %d completions, a parallelism of %d and the subdomain %q", *job.Spec.Completions, *job.Spec.Parallelism, job.Spec.Template.Spec.Subdomain)
	}
	service := c.service(job)
	if owner := metav1.GetControllerOf(service); owner == nil || owner.UID != job.UID || service.Spec.ClusterIP != corev1.ClusterIPNone {
		t.Errorf("the Service belongs to %v and has the address %q", owner, service.Spec.ClusterIP)
	}
	c.must(c.Delete(t.Context(), service))
	c.until("there is another Service", func() bool { return c.service(job).UID != service.UID })

	clear(c.hold)
	c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
	var services corev1.ServiceList
	c.must(c.List(t.Context(), &services, client.InNamespace(c.namespace)))
	for _, s := range services.Items {
		if s.Name != job.Name {
			t.Errorf("Service %s is of no gang", s.Name)
		}
	}
}

// service waits for that of a Job.
func (c *cluster) service(job *batchv1.Job) *corev1.Service {
	c.t.Helper()
	var s corev1.Service
	c.until("Job "+job.Name+" has its Service", func() bool {
		return c.Get(c.t.Context(), client.ObjectKeyFromObject(job), &s) == nil
	})
	return &s
}
