package jobs_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/golden"
	"github.com/spatialalign/operator/internal/jobs"
)

func pinned(key string) contract.Artifact {
	return contract.Artifact{Key: key, Digest: contract.Digest([]byte(key))}
}

func runtime(store v1alpha1.StoreSpec) *v1alpha1.AlignmentRuntimeSpec {
	gpu := func(shards int32) v1alpha1.StageTemplate {
		return v1alpha1.StageTemplate{
			Image: "runtime.example/wan@sha256:0123", Command: []string{"python", "-m", "wan"},
			Env: []v1alpha1.EnvVar{{Name: "PYTHONUNBUFFERED", Value: ptr.To("1")}},
			Resources: &corev1.ResourceRequirements{Limits: corev1.ResourceList{
				"nvidia.com/gpu": resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("64Gi"),
			}},
			Shards: shards, TerminationGracePeriodSeconds: 120,
		}
	}
	return &v1alpha1.AlignmentRuntimeSpec{Store: store, Sample: gpu(4), Track: gpu(2), Train: gpu(1)}
}

var (
	pvc = v1alpha1.StoreSpec{PVC: &v1alpha1.PVCStore{ClaimName: "alignment-store"}}
	s3  = v1alpha1.StoreSpec{S3: &v1alpha1.S3Store{
		Bucket: "alignment", Prefix: "videos/raw", Endpoint: "https://minio.storage:9000", Region: "us-east-1", SecretName: "store-access",
	}}
)

// work is a stage of the run first-run.
func work(stage v1alpha1.StageName, store v1alpha1.StoreSpec, spec contract.Spec) jobs.Work {
	spec.ContractVersion, spec.Output = contract.Version, "runs/5f9a-run/0001/"+jobs.Slug(stage)
	return jobs.Work{
		Owner: jobs.Owner{Kind: "AlignmentRun", Namespace: "team-a", Name: "first-run", UID: "5f9a-run", Run: "first-run"},
		Place: jobs.Place{Iteration: 1, Stage: stage, Attempt: 0}, Spec: spec, Runtime: runtime(store),
		Images: jobs.Images{Stage: "spatialalign:1", PullPolicy: corev1.PullIfNotPresent},
	}
}

// everyStage is one Job of every stage, with what its store, its prompts and its runtime add.
func everyStage() map[string]jobs.Work {
	model := contract.Model{Name: "wan", Digest: contract.Digest([]byte("weights"))}
	sampling := contract.Sampling{Model: model, NumericsRevision: "1", Steps: 50}
	prepare := work(v1alpha1.StagePrepare, pvc, contract.Spec{Stage: contract.Prepare, Prepare: &contract.PrepareSpec{
		Prompts: []contract.PromptSource{
			{Name: "train", File: "/etc/spatialalign/prompts/train/train.csv"},
			{Name: "evaluation", File: "/etc/spatialalign/prompts/evaluation/held-out.jsonl"},
		},
		Sets: []contract.SampleSet{{Name: "train", SamplesPerPrompt: 5, Sampling: sampling, Seeds: contract.SeedRule{Seed: 1, Iteration: 1}}},
	}})
	prepare.ConfigMaps = map[string]v1alpha1.ConfigMapKeyReference{
		"train": {Name: "prompts", Key: "train.csv"}, "evaluation": {Name: "prompts", Key: "held-out.jsonl"},
	}
	score := work(v1alpha1.StageScore, s3, contract.Spec{Stage: contract.Score, Score: &contract.ScoreSpec{
		Prompts: pinned("prompts.jsonl"), Index: pinned("index.jsonl"), Tracks: []contract.Artifact{pinned("t0.json"), pinned("t1.json")},
		MinUsableFrames: 20, MaxInvalidFraction: "0.9",
	}})
	lineage := work(v1alpha1.StageLineage, pvc, contract.Spec{Stage: contract.Lineage, Lineage: &contract.LineageSpec{Record: contract.LineageRecord{
		ContractVersion: contract.Version, Namespace: "team-a", Run: "first-run", UID: "5f9a-run", Iteration: 1, CodeVersion: "v0.3.0",
		Spec: []byte(`{}`), Runtime: []byte(`{}`), Rounds: 1,
	}}})
	lineage.Scheduling = &v1alpha1.SchedulingSpec{QueueName: "gpu", PriorityClassName: "research"} // too small to queue for
	// A batch that a user made alone: no run above it, an S3 store at AWS.
	score.Owner = jobs.Owner{Kind: "ScoringBatch", Namespace: "team-a", Name: "my-videos", UID: "77-batch"}
	aws := *s3.S3
	aws.Endpoint, aws.Prefix = "", ""
	score.Runtime.Store.S3 = &aws
	sample := work(v1alpha1.StageSample, pvc, contract.Spec{Stage: contract.Sample, Sample: &contract.SampleSpec{
		Prompts: pinned("prompts.jsonl"), Index: pinned("index.jsonl"), Sampling: sampling, KeepLatents: true,
	}})
	// The second round of an iteration, in a queue of its stage that may admit half of it.
	queued := sample
	queued.Place.Round = 1
	queued.Scheduling = &v1alpha1.SchedulingSpec{QueueName: "gpu", PriorityClassName: "research", Sample: &v1alpha1.StageScheduling{
		QueueName: "gpu-small", Shards: 16, MaxParallel: 8, MinParallel: 4, Resources: &corev1.ResourceRequirements{
			Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("2")},
		},
	}}
	train := work(v1alpha1.StageTrain, s3, contract.Spec{Stage: contract.Train, Train: &contract.TrainSpec{
		Prompts: pinned("prompts.jsonl"), Pairs: pinned("pairs.jsonl"), Model: model, NumericsRevision: "1", Seed: 1, Iteration: 1,
		Training: contract.Training{Steps: 3000, PairsPerStep: 4, LearningRate: "0.0001", Beta: "1", Lambda: "0.5", MarginClip: "5", LoRARank: 64, LoRAAlpha: 64},
	}})
	gang := train
	gang.Nodes, gang.GPUsPerNode = 4, 8
	// Everything that an admin may say of the pods.
	settled := sample
	settled.Runtime = sample.Runtime.DeepCopy()
	settled.Runtime.Weights = &v1alpha1.WeightsSpec{PVC: v1alpha1.PVCStore{ClaimName: "model-weights"}}
	settled.Runtime.Sample.PodSettings = everySetting()
	return map[string]jobs.Work{
		"prepare":        prepare,
		"sample":         sample,
		"sample-settled": settled,
		"sample-queued":  queued,
		"track": work(v1alpha1.StageTrack, s3, contract.Spec{Stage: contract.Track, Track: &contract.TrackSpec{
			Prompts: pinned("prompts.jsonl"), Index: pinned("index.jsonl"), Detector: contract.Detector{Name: "d", Digest: model.Digest, Revision: "2"},
		}}),
		"score": score,
		"pair": work(v1alpha1.StagePair, pvc, contract.Spec{Stage: contract.Pair, Pair: &contract.PairSpec{
			Sources: []contract.PairSource{{Iteration: 1, Scores: pinned("scores.jsonl")}}, WinnerThreshold: "0.7", LoserThreshold: "0.7",
		}}),
		"compare": work(v1alpha1.StageCompare, pvc, contract.Spec{Stage: contract.Compare, Compare: &contract.CompareSpec{
			Best: pinned("best.jsonl"), Candidate: pinned("candidate.jsonl"), Threshold: "0.7", Confidence: "0.95", Resamples: 10000, Seed: 1,
		}}),
		"lineage": lineage,
		"train":   train,
		"gang":    gang,
	}
}

// TestBuild shows the Job of every stage as YAML: testdata is the specification.
func TestBuild(t *testing.T) {
	for name, w := range everyStage() {
		t.Run(name, func(t *testing.T) {
			job := jobs.Build(w)
			data, err := yaml.Marshal(job)
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, name+".yaml", string(data))
		})
	}
}

// The pod reads its spec from its own annotation, and checks it against the digest in its arguments.
func TestSpecTravelsWithThePod(t *testing.T) {
	for name, w := range everyStage() {
		t.Run(name, func(t *testing.T) {
			job := jobs.Build(w)
			data := job.Spec.Template.Annotations[v1alpha1.AnnotationSpec]
			args := job.Spec.Template.Spec.Containers[0].Args
			if got := contract.Digest([]byte(data)); got != args[len(args)-1] || got != job.Annotations[v1alpha1.AnnotationSpecDigest] {
				t.Errorf("annotation %s, argument %s, annotation of the Job %s", got, args[len(args)-1], job.Annotations[v1alpha1.AnnotationSpecDigest])
			}
			var spec contract.Spec
			if err := json.Unmarshal([]byte(data), &spec); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(w.Spec, spec); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Attempts of the same work differ by name, label and the attempt's number in the environment, never by spec.
func TestAnotherAttemptHasTheSameSpec(t *testing.T) {
	w := everyStage()["sample"]
	first := jobs.Build(w)
	w.Place.Attempt = 1
	second := jobs.Build(w)
	if first.Name == second.Name || first.Annotations[v1alpha1.AnnotationSpecDigest] != second.Annotations[v1alpha1.AnnotationSpecDigest] {
		t.Errorf("attempts are %s with %v and %s with %v", first.Name, first.Annotations, second.Name, second.Annotations)
	}
}

// What Pod Security calls restricted, and more: no token, no writable root, no service links.
func TestPodsAreRestricted(t *testing.T) {
	for name, w := range everyStage() {
		t.Run(name, func(t *testing.T) {
			pod := jobs.Build(w).Spec.Template.Spec
			if ptr.Deref(pod.AutomountServiceAccountToken, true) || ptr.Deref(pod.EnableServiceLinks, true) || pod.HostNetwork || pod.HostPID || pod.HostIPC {
				t.Error("the pod has a token, service links or the host's namespaces")
			}
			if s := pod.SecurityContext; !*s.RunAsNonRoot || *s.RunAsUser == 0 || *s.FSGroup == 0 || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
				t.Errorf("pod security context: %+v", s)
			}
			for _, c := range pod.Containers {
				s := c.SecurityContext
				if *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !cmp.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
					t.Errorf("container security context: %+v", s)
				}
			}
			for _, v := range pod.Volumes {
				if v.HostPath != nil || v.Secret != nil || v.Projected != nil {
					t.Errorf("volume %s is of a kind that no stage needs", v.Name)
				}
			}
		})
	}
}

// Secrets enter the environment by reference only; with a claim there are none.
func TestSecretsAreReferences(t *testing.T) {
	for name, w := range everyStage() {
		t.Run(name, func(t *testing.T) {
			var secrets []string
			for _, e := range jobs.Build(w).Spec.Template.Spec.Containers[0].Env {
				if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
					secrets = append(secrets, e.Name)
				}
			}
			want := []string(nil)
			if w.Runtime.Store.S3 != nil {
				want = []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
			}
			if !cmp.Equal(secrets, want) {
				t.Errorf("secrets in the environment: %v, want %v", secrets, want)
			}
		})
	}
}

// What the operator sets comes behind the runtime's own variables, so that it wins.
func TestOperatorsEnvironmentWins(t *testing.T) {
	w := everyStage()["sample"]
	w.Runtime.Sample.Env = []v1alpha1.EnvVar{{Name: contract.EnvStore, Value: ptr.To("file:///elsewhere")}}
	env := jobs.Build(w).Spec.Template.Spec.Containers[0].Env
	last := ""
	for _, e := range env {
		if e.Name == contract.EnvStore {
			last = e.Value
		}
	}
	if last != "file:///store" {
		t.Errorf("the store is %q", last)
	}
}

func TestShards(t *testing.T) {
	tests := []struct {
		stage   string
		inSpec  int32
		want    int32
		backoff string
	}{
		{"sample", 4, 4, "per index"},
		{"sample", 0, 1, "per index"},
		{"track", 32, 32, "per index"},
		{"train", 8, 1, "none"},
		{"score", 8, 1, "per index"},
	}
	for _, tt := range tests {
		w := everyStage()[tt.stage]
		w.Runtime.Sample.Shards, w.Runtime.Track.Shards, w.Runtime.Train.Shards = tt.inSpec, tt.inSpec, tt.inSpec
		job := jobs.Build(w)
		if *job.Spec.Completions != tt.want || *job.Spec.Parallelism != tt.want || backoff(job) != tt.backoff {
			t.Errorf("%s with %d shards: %d completions, %d in parallel, retries %s; want %d, %s", tt.stage, tt.inSpec,
				*job.Spec.Completions, *job.Spec.Parallelism, backoff(job), tt.want, tt.backoff)
		}
	}
}

func backoff(job *batchv1.Job) string {
	switch {
	case job.Spec.BackoffLimitPerIndex != nil && *job.Spec.BackoffLimitPerIndex == 1 && job.Spec.BackoffLimit == nil:
		return "per index"
	case job.Spec.BackoffLimit != nil && *job.Spec.BackoffLimit == 0 && job.Spec.BackoffLimitPerIndex == nil:
		return "none"
	default:
		return "other"
	}
}

func TestStoreURL(t *testing.T) {
	tests := []struct {
		name  string
		store v1alpha1.StoreSpec
		want  string
	}{
		{"claim", pvc, "file:///store"},
		{"service of one's own", s3, "s3://alignment/videos/raw/team-a?endpoint=https%3A%2F%2Fminio.storage%3A9000&region=us-east-1&use_path_style=true"},
		{"AWS", v1alpha1.StoreSpec{S3: &v1alpha1.S3Store{Bucket: "alignment", Region: "eu-west-1"}}, "s3://alignment/team-a?region=eu-west-1"},
	}
	for _, tt := range tests {
		if got := jobs.StoreURL(tt.store, "team-a"); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
