//go:build faults

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/controllers"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// Item 13: hostile specs, statuses, annotations, labels and last words. The operator does not panic, and does its work
// afterwards. It has an API server of its own here, without other controllers: the test plays what they would do.
func TestHostileObjects(t *testing.T) {
	t.Parallel()
	const specs, statuses, children, workers = 5000, 2000, 3000, 4
	references[1].get(t) // whose statuses are spoilt
	e := newEnemies(t)
	o := e.operate(t, "hostile", []string{e.namespace}, "--progress-interval=1s")
	var group errgroup.Group
	for worker := range workers {
		group.Go(func() error {
			a := &attack{enemies: e, hostility: hostility{rand.New(rand.NewPCG(13, uint64(worker)))}, name: fmt.Sprintf("w%d", worker)}
			for i := range specs / workers {
				a.spec(t.Context(), i)
			}
			a.bury(t.Context())
			for i := range statuses / workers {
				a.status(t.Context(), i)
			}
			a.bury(t.Context())
			for i := range children / workers / perJob {
				if err := a.job(t.Context(), i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	if err == nil {
		honest := alignmentRun(e.namespace, "honest", 1)
		e.create(t, honest)
		_, err = e.firstJob(t.Context(), honest)
	}
	if n := o.panics() + len(o.deaths); err == nil && n > 0 {
		err = fmt.Errorf("%d panics or deaths, see %s", n, o.log)
	}
	report.describe(13, "hostile specs (%d), statuses (%d), labels, annotations and last words (%d): no panic, and an honest run starts afterwards", specs, statuses, children)
	report.note(13, "%d were refused at admission", e.refused.Load())
	report.tried(t, 13, specs+statuses+children, err)
}

// enemies are an API server with everything that hostile objects are made from.
type enemies struct {
	*cluster
	namespace string
	schemas   map[string]*apiextensionsv1.JSONSchemaProps
	refused   atomic.Int64
}

func newEnemies(t *testing.T) *enemies {
	t.Helper()
	environment := &envtest.Environment{CRDDirectoryPaths: []string{"../../config/crd/bases"}, ErrorIfCRDPathMissing: true, ControlPlaneStartTimeout: startTimeout}
	admin, err := environment.Start()
	stop := sync.OnceValue(environment.Stop)
	t.Cleanup(func() { _ = stop() })
	processes.add(func() { _ = stop() })
	if err != nil {
		t.Fatal(err)
	}
	admin.QPS = -1
	direct, err := client.New(admin, client.Options{Scheme: controllers.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	e := &enemies{cluster: &cluster{Client: direct, live: direct, admin: admin, logs: shared.logs}, schemas: map[string]*apiextensionsv1.JSONSchemaProps{}}
	e.namespace = e.cluster.namespace(t, "hostile")
	for _, crd := range environment.CRDs {
		e.schemas[crd.Spec.Names.Kind] = crd.Spec.Versions[0].Schema.OpenAPIV3Schema
	}
	return e
}

// firstJob waits for a run's first Job.
func (e *enemies) firstJob(ctx context.Context, run *v1alpha1.AlignmentRun) (*batchv1.Job, error) {
	var job batchv1.Job
	name := jobs.ChildName(run.Name, run.UID, jobs.Place{Stage: v1alpha1.StagePrepare})
	return &job, eventually(ctx, time.Minute, "Job "+name, func() bool {
		return e.Get(ctx, client.ObjectKey{Namespace: e.namespace, Name: name}, &job) == nil
	})
}

// attack is one worker's sequence of hostile acts.
type attack struct {
	*enemies
	hostility
	name string
	// alive are accepted objects, oldest first. The operator looks at each at least every second.
	alive []*unstructured.Unstructured
}

// alives is how many objects of a worker live at a time. statusesEach is how many hostile statuses an object suffers,
// one after the other: what one of them ends is not looked at again.
const (
	alives       = 25
	statusesEach = 4
)

// spec makes an object with a hostile spec.
func (a *attack) spec(ctx context.Context, i int) {
	u := unstructuredOf(a.base(fmt.Sprintf("%s-spec-%d", a.name, i), 8))
	part := a.schemas[u.GetKind()].Properties["spec"]
	a.spoil(u.Object["spec"].(map[string]any), &part)
	a.admit(ctx, u)
}

// status gives an honest object a status that another once had, spoilt.
func (a *attack) status(ctx context.Context, i int) {
	if i%statusesEach == 0 {
		a.admit(ctx, unstructuredOf(a.base(fmt.Sprintf("%s-status-%d", a.name, i), 6)))
	}
	u := a.alive[len(a.alive)-1]
	if i%statusesEach != 0 {
		u = a.alive[a.IntN(len(a.alive))] // one that the operator knows
	}
	var status map[string]any
	if err := json.Unmarshal(shared.history.scene(u.GetKind(), a.hostility), &status); err != nil {
		return
	}
	part := a.schemas[u.GetKind()].Properties["status"]
	a.spoil(status, &part)
	patch, err := json.Marshal([]map[string]any{{"op": "add", "path": "/status", "value": status}})
	if err != nil {
		return
	}
	if err := a.Status().Patch(ctx, u.DeepCopy(), client.RawPatch(types.JSONPatchType, patch)); err != nil {
		a.refused.Add(1)
	}
}

// admit creates an object, if it is admitted, and deletes an old one.
func (a *attack) admit(ctx context.Context, u *unstructured.Unstructured) {
	if err := a.Create(ctx, u); err != nil {
		a.refused.Add(1)
		return
	}
	a.alive = append(a.alive, u)
	if len(a.alive) > alives {
		_ = a.Delete(ctx, a.alive[0])
		a.alive = a.alive[1:]
	}
}

// bury deletes all objects that live.
func (a *attack) bury(ctx context.Context) {
	for _, u := range a.alive {
		_ = a.Delete(ctx, u)
	}
	a.alive = nil
}

func unstructuredOf(o client.Object) *unstructured.Unstructured {
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		panic(err) // an object of our own API
	}
	delete(object, "status")
	u := &unstructured.Unstructured{Object: object}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kindOf(o)))
	return u
}

// base is an honest object of one of the first kinds. The last two have no status worth spoiling, and runs are the dearest
// to validate.
func (a *attack) base(name string, kinds int) client.Object {
	switch a.IntN(kinds) {
	case 0, 1:
		return scoringBatch(a.namespace, name, "my/")
	case 2, 3:
		d := &v1alpha1.PreferenceDataset{}
		d.Name, d.Namespace, d.Spec.RuntimeRef.Name = name, a.namespace, a.namespace
		d.Spec.Import = &v1alpha1.ArtifactReference{Key: "my/pairs.jsonl"}
		return d
	case 6:
		return alignmentRuntime(a.namespace + "-" + name)
	case 7:
		return &v1alpha1.AlignmentApproval{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: a.namespace}, Spec: v1alpha1.AlignmentApprovalSpec{
			RunName: a.name + "-1", RunUID: "00000000-0000-0000-0000-000000000000", Iteration: 1, Gate: v1alpha1.GatePair,
			Digest: v1alpha1.Digest(contract.Digest(nil)), Decision: v1alpha1.DecisionApprove,
		}}
	default:
		return alignmentRun(a.namespace, name, 3)
	}
}

// perJob is how many hostile acts a Job suffers.
const perJob = 15

// job spoils the labels and annotations of a run's first Job, gives it pods that say strange things, and ends it.
func (a *attack) job(ctx context.Context, i int) error {
	run := alignmentRun(a.namespace, fmt.Sprintf("%s-job-%d", a.name, i), 1)
	if err := a.Create(ctx, run); err != nil {
		return err
	}
	job, err := a.firstJob(ctx, run)
	if err != nil {
		return err
	}
	for range 4 {
		a.pod(ctx, job)
	}
	for i := range perJob - 5 {
		kind := []string{"labels", "annotations"}[i%2]
		if err := a.Patch(ctx, job.DeepCopy(), client.RawPatch(types.MergePatchType, a.metadata(kind))); err != nil {
			a.refused.Add(1)
		}
	}
	if err := a.endJob(ctx, job); err != nil {
		a.refused.Add(1)
	}
	return a.Delete(ctx, run)
}

func (a *attack) metadata(kind string) []byte {
	values := map[string]any{}
	for _, name := range []string{
		v1alpha1.LabelIteration, v1alpha1.LabelStage, v1alpha1.LabelAttempt, v1alpha1.LabelRound, v1alpha1.LabelRun, v1alpha1.AnnotationSpecDigest,
	} {
		if a.IntN(2) == 0 {
			values[name] = []string{"", "-1", "99999999999", "2147483647", "Train", "Score", "none", "0x", "a.b"}[a.IntN(9)]
		}
	}
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{kind: values}})
	if err != nil {
		return nil
	}
	return data
}

// pod makes a pod of a Job that has ended with a strange last word.
func (a *attack) pod(ctx context.Context, job *batchv1.Job) {
	template := job.Spec.Template.DeepCopy()
	template.Annotations[batchv1.JobCompletionIndexAnnotation] = []string{"0", "0", "0", "-1", "99999999999", "", "x", "1"}[a.IntN(8)]
	if a.IntN(5) == 0 {
		template.Annotations[v1alpha1.AnnotationSpec] = strange[a.IntN(len(strange))]
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: a.namespace, GenerateName: job.Name + "-", Labels: template.Labels, Annotations: template.Annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		Spec: template.Spec,
	}
	if err := a.Create(ctx, pod); err != nil {
		a.refused.Add(1)
		return
	}
	pod.Status = running(metav1.Now())
	pod.Status.Phase = []corev1.PodPhase{corev1.PodSucceeded, corev1.PodSucceeded, corev1.PodFailed, corev1.PodUnknown}[a.IntN(4)]
	pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: []int32{0, 0, 1, 64, 75, 77, 143, -1, 255}[a.IntN(9)], Message: a.lastWord(job), FinishedAt: metav1.Now(),
	}}
	if err := a.Status().Update(ctx, pod); err != nil {
		a.refused.Add(1)
	}
}

// lastWord is the stage's own, spoilt, cut off, or nothing of the kind.
func (a *attack) lastWord(job *batchv1.Job) string {
	var spec contract.Spec
	if err := json.Unmarshal([]byte(job.Spec.Template.Annotations[v1alpha1.AnnotationSpec]), &spec); err != nil {
		return "{"
	}
	text := word(&spec, 0)
	var said map[string]any
	if err := json.Unmarshal([]byte(text), &said); err != nil {
		return "{"
	}
	switch a.IntN(4) {
	case 0:
		return text[:a.IntN(len(text))]
	case 1:
		return strings.Repeat(strange[a.IntN(len(strange))], 3)
	default:
		a.spoil(said, &apiextensionsv1.JSONSchemaProps{})
		data, err := json.Marshal(said)
		if err != nil {
			return "{"
		}
		return string(data)
	}
}

// endJob plays the Job controller.
func (a *attack) endJob(ctx context.Context, job *batchv1.Job) error {
	if err := a.Get(ctx, client.ObjectKeyFromObject(job), job); err != nil {
		return err
	}
	now := metav1.Now()
	job.Status = batchv1.JobStatus{
		StartTime: &job.CreationTimestamp, CompletionTime: &now, Succeeded: 1, CompletedIndexes: "0",
		UncountedTerminatedPods: &batchv1.UncountedTerminatedPods{},
		Conditions: []batchv1.JobCondition{
			{Type: batchv1.JobSuccessCriteriaMet, Status: corev1.ConditionTrue, LastTransitionTime: now},
			{Type: batchv1.JobComplete, Status: corev1.ConditionTrue, LastTransitionTime: now},
		},
	}
	return a.Status().Update(ctx, job)
}
