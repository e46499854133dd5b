package jobs

import (
	"fmt"
	"net/url"
	"path"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

const (
	container = "stage"
	storeDir  = "/store"
	specDir   = "/etc/spatialalign/spec"
	specFile  = "spec.json"
	// PromptsDir is where prompt ConfigMaps are mounted, each under its set's name.
	PromptsDir = "/etc/spatialalign/prompts"
	// user is an unprivileged UID and GID; volumes are handed to it by fsGroup.
	user = 65532
)

// Owner is the object that a child belongs to.
type Owner struct {
	Kind      string
	Namespace string
	Name      string
	UID       types.UID
	// Run is the name of the AlignmentRun at the top; empty for objects that a user created alone.
	Run string
}

// Reference to the owner, controlling.
func (o Owner) Reference() metav1.OwnerReference {
	return metav1.OwnerReference{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: o.Kind, Name: o.Name, UID: o.UID,
		Controller: ptr.To(true), BlockOwnerDeletion: ptr.To(true),
	}
}

// Place is where a child stands in its owner's plan.
type Place struct {
	Iteration int32
	// Round of resampling within the iteration; 0 is its first.
	Round   int32
	Stage   v1alpha1.StageName
	Attempt int32
}

// Meta is the object metadata of the child of owner at place.
func Meta(o Owner, p Place) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace:       o.Namespace,
		Name:            ChildName(o.Name, o.UID, p),
		Labels:          labels(o, p),
		OwnerReferences: []metav1.OwnerReference{o.Reference()},
	}
}

func labels(o Owner, p Place) map[string]string {
	l := map[string]string{
		v1alpha1.LabelManaged:   "true",
		v1alpha1.LabelOwnerUID:  string(o.UID),
		v1alpha1.LabelIteration: strconv.Itoa(int(p.Iteration)),
		v1alpha1.LabelStage:     string(p.Stage),
		v1alpha1.LabelAttempt:   strconv.Itoa(int(p.Attempt)),
	}
	if p.Round > 0 {
		l[v1alpha1.LabelRound] = strconv.Itoa(int(p.Round))
	}
	if o.Run != "" {
		l[v1alpha1.LabelRun] = o.Run
	}
	return l
}

// Images of the stages that the operator brings itself.
type Images struct {
	// Stage is the operator's own image; it runs prepare, score, pair, compare and lineage.
	Stage string
	// PullPolicy of all stages.
	PullPolicy corev1.PullPolicy
}

// Work is what a Job is built from.
type Work struct {
	Owner   Owner
	Place   Place
	Spec    contract.Spec
	Runtime *v1alpha1.AlignmentRuntimeSpec
	Images  Images
	// Scheduling of the run; nil leaves all to the runtime.
	Scheduling *v1alpha1.SchedulingSpec
	// Nodes is how many pods train together; 0 is 1.
	Nodes int32
	// GPUsPerNode is what a training pod gets; 0 leaves it to the runtime's resources.
	GPUsPerNode int32
	// Reserved is what the run has of a queue as a whole; nil where its Jobs are queued, or there is no queue.
	Reserved *Reserved
	// ConfigMaps are prompt sources to mount, by set name.
	ConfigMaps map[string]v1alpha1.ConfigMapKeyReference
}

// Build makes the Indexed Job of a stage. One that has a queue is suspended until the queue admits it.
func Build(w Work) *batchv1.Job {
	data, digest := w.Spec.Encode()
	t := template(w)
	place := schedule(w, t.Shards)
	meta := Meta(w.Owner, w.Place)
	meta.Annotations = map[string]string{v1alpha1.AnnotationSpecDigest: digest}

	job := &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: meta,
		Spec: batchv1.JobSpec{
			CompletionMode:   ptr.To(batchv1.IndexedCompletion),
			Completions:      ptr.To(place.shards),
			Parallelism:      ptr.To(place.parallel),
			PodFailurePolicy: failurePolicy(w),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{
					Labels:      labels(w.Owner, w.Place),
					Annotations: map[string]string{v1alpha1.AnnotationSpec: string(data)},
				},
				Spec: podSpec(w, t, place.shards, digest),
			},
		},
	}
	if w.Spec.Stage == contract.Train {
		job.Spec.BackoffLimit = ptr.To(int32(0))
	} else {
		job.Spec.BackoffLimitPerIndex = ptr.To(int32(1))
	}
	place.enqueue(job)
	w.Reserved.settle(w, job)
	join(job)
	place.bound(job)
	return job
}

// template is the runtime's for its own stages and a small CPU pod for the operator's, with what the run says of it.
func template(w Work) v1alpha1.StageTemplate {
	t := v1alpha1.StageTemplate{
		Image: w.Images.Stage, Command: []string{"/spatialalign"}, Shards: 1,
		Resources: ptr.To(cpuResources()), TerminationGracePeriodSeconds: 30,
	}
	switch w.Spec.Stage {
	case contract.Sample:
		t = w.Runtime.Sample
	case contract.Track:
		t = w.Runtime.Track
	case contract.Train:
		t = w.Runtime.Train
		t.Shards = max(w.Nodes, 1)
	}
	t.Resources = resources(w, t)
	return t
}

func podSpec(w Work, t v1alpha1.StageTemplate, shards int32, digest string) corev1.PodSpec {
	volumes, mounts := storage(w)
	c := corev1.Container{
		Name:            container,
		Image:           t.Image,
		ImagePullPolicy: w.Images.PullPolicy,
		Command:         t.Command,
		Args: []string{
			string(w.Spec.Stage),
			contract.FlagSpec, path.Join(specDir, specFile),
			contract.FlagSpecDigest, digest,
		},
		Env:       environment(w, t, shards),
		Resources: ptr.Deref(t.Resources, corev1.ResourceRequirements{}),
		Ports:     []corev1.ContainerPort{{Name: "progress", ContainerPort: contract.ProgressPort, Protocol: corev1.ProtocolTCP}},
		LivenessProbe: &corev1.Probe{
			ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
				Path: "/healthz", Port: intstr.FromInt32(contract.ProgressPort), Scheme: corev1.URISchemeHTTP,
			}},
			InitialDelaySeconds: 10, PeriodSeconds: 30, TimeoutSeconds: 5, FailureThreshold: 3,
		},
		VolumeMounts:             mounts,
		SecurityContext:          restricted(),
		TerminationMessagePath:   contract.TerminationPath,
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
	pod := corev1.PodSpec{
		RestartPolicy:                 corev1.RestartPolicyNever,
		AutomountServiceAccountToken:  ptr.To(false),
		EnableServiceLinks:            ptr.To(false),
		TerminationGracePeriodSeconds: ptr.To(max(t.TerminationGracePeriodSeconds, 1)),
		PriorityClassName:             priorityClass(w),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To(int64(user)), RunAsGroup: ptr.To(int64(user)), FSGroup: ptr.To(int64(user)),
			FSGroupChangePolicy: ptr.To(corev1.FSGroupChangeOnRootMismatch),
			SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{c},
		Volumes:    volumes,
	}
	if ofRuntime(w.Spec.Stage) {
		settings(&pod, t.PodSettings, w.Runtime.Weights)
	}
	return pod
}

func restricted() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false),
		ReadOnlyRootFilesystem:   ptr.To(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

func environment(w Work, t v1alpha1.StageTemplate, shards int32) []corev1.EnvVar {
	if w.Spec.Stage == contract.Train {
		shards = 1 // its pods work together: see join
	}
	env := make([]corev1.EnvVar, 0, len(t.Env)+7)
	for _, e := range t.Env {
		env = append(env, corev1.EnvVar{Name: e.Name, Value: ptr.Deref(e.Value, "")})
	}
	env = append(env,
		corev1.EnvVar{Name: contract.EnvStore, Value: StoreURL(w.Runtime.Store, w.Owner.Namespace)},
		corev1.EnvVar{Name: contract.EnvAttempt, Value: strconv.Itoa(int(w.Place.Attempt))},
		corev1.EnvVar{Name: contract.EnvShards, Value: strconv.Itoa(int(shards))},
		corev1.EnvVar{Name: contract.EnvImage, Value: t.Image},
		corev1.EnvVar{Name: contract.EnvPodUID, ValueFrom: &corev1.EnvVarSource{
			FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.uid"},
		}},
	)
	if s3 := w.Runtime.Store.S3; s3 != nil {
		env = append(env, secretEnv("AWS_ACCESS_KEY_ID", s3.SecretName), secretEnv("AWS_SECRET_ACCESS_KEY", s3.SecretName))
	}
	return env
}

func secretEnv(name, secret string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Key: name,
	}}}
}

// StoreURL is the artifact root as the stages open it.
func StoreURL(s v1alpha1.StoreSpec, namespace string) string {
	if s.S3 == nil {
		return "file://" + storeDir
	}
	q := url.Values{}
	if s.S3.Region != "" {
		q.Set("region", s.S3.Region)
	}
	if s.S3.Endpoint != "" {
		q.Set("endpoint", s.S3.Endpoint)
		q.Set("use_path_style", "true")
	}
	return fmt.Sprintf("s3://%s/%s?%s", s.S3.Bucket, path.Join(string(s.S3.Prefix), namespace), q.Encode())
}
