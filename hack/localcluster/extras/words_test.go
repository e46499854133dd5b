// Package extras holds tests of what its programs are told.
package extras

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kwok/pkg/utils/gotpl"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// specs are the annotations of stage pods, cut down to what their last words depend on.
var specs = map[string]string{
	"prepare": `{"stage":"prepare","output":"runs/u/0001/prepare","prepare":{"prompts":[{"name":"train"}],"sets":[
		{"name":"train","samplesPerPrompt":5,"detector":{"name":"d"}},{"name":"evaluation","samplesPerPrompt":20}]}}`,
	"sample":  `{"stage":"sample","output":"runs/u/0001/sample"}`,
	"track":   `{"stage":"track","output":"runs/u/0001/track"}`,
	"score":   `{"stage":"score","output":"runs/u/0003/score","score":{"index":{"key":"runs/u/0003/prepare/index"}}}`,
	"pair":    `{"stage":"pair","output":"runs/u/0001/pair"}`,
	"train":   `{"stage":"train","output":"runs/u/0001/train","train":{"training":{"steps":120}}}`,
	"compare": `{"stage":"compare","output":"runs/u/0001/compare"}`,
	"lineage": `{"stage":"lineage","output":"runs/u/0001/lineage"}`,
}

func TestLastWordsOfFakePods(t *testing.T) {
	for stage, spec := range specs {
		status := ended(t, podOf(map[string]string{
			"alignment.spatialalign.dev/spec":          spec,
			"batch.kubernetes.io/job-completion-index": "2",
		}))
		end := status.ContainerStatuses[0].State.Terminated
		if status.Phase != corev1.PodSucceeded || end == nil || end.ExitCode != 0 || end.StartedAt.IsZero() || !end.StartedAt.Before(&end.FinishedAt) {
			t.Fatalf("%s: status %+v", stage, status)
		}
		if len(end.Message) > 4096 {
			t.Errorf("%s: a message of %d bytes, the contract allows 4,096", stage, len(end.Message))
		}
		var got bytes.Buffer
		if err := json.Indent(&got, []byte(end.Message), "", "  "); err != nil {
			t.Fatalf("%s: %v in %s", stage, err, end.Message)
		}
		got.WriteByte('\n')
		golden := filepath.Join("testdata", stage+".json.golden")
		if *update {
			if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != string(want) {
			t.Errorf("%s differs from %s:\n%s", stage, golden, &got)
		}
	}
}

func TestFakePodsThatAreNoStagesEndWithoutAWord(t *testing.T) {
	status := ended(t, podOf(nil))
	if end := status.ContainerStatuses[0].State.Terminated; end == nil || end.Message != "" || status.Phase != corev1.PodSucceeded {
		t.Errorf("status %+v", status)
	}
}

func podOf(annotations map[string]string) *corev1.Pod {
	running := &corev1.ContainerStateRunning{StartedAt: metav1.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "stage", Annotations: annotations},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "stage", Image: "stage:1"}}},
		Status: corev1.PodStatus{
			Phase:             corev1.PodRunning,
			ContainerStatuses: []corev1.ContainerStatus{{Name: "stage", State: corev1.ContainerState{Running: running}}},
		},
	}
}

func ended(t *testing.T, pod *corev1.Pod) corev1.PodStatus {
	t.Helper()
	template, err := os.ReadFile("../cluster/internal/addons/manifests/kwok.ended.yaml")
	if err != nil {
		t.Fatal(err)
	}
	data, err := gotpl.NewRenderer(nil).ToJSON(string(template), pod)
	if err != nil {
		t.Fatal(err)
	}
	var status corev1.PodStatus
	if err := json.Unmarshal(data, &status); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return status
}
