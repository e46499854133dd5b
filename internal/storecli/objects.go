package storecli

import (
	"encoding/json"
	"fmt"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// readRun reads an AlignmentRun as kubectl get prints it.
func readRun(file string) (*v1alpha1.AlignmentRun, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	run := &v1alpha1.AlignmentRun{}
	if err := yaml.Unmarshal(data, run); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if run.Kind != "AlignmentRun" || run.UID == "" {
		return nil, fmt.Errorf("%s: want an AlignmentRun as kubectl get -o yaml prints it, this is %q", file, run.Kind)
	}
	return run, nil
}

// readObjects reads a List of our kinds as kubectl get prints it. An object that cannot be understood is an
// error: what it refers to would be taken for garbage.
func readObjects(file string) ([]client.Object, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var list struct {
		metav1.TypeMeta `json:",inline"`
		Items           []json.RawMessage `json:"items"`
	}
	if err := yaml.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if list.Kind != "List" || list.Items == nil {
		return nil, fmt.Errorf("%s: want a List of all objects as kubectl get -o yaml prints it, this is %q", file, list.Kind)
	}
	var objects []client.Object
	for i, item := range list.Items {
		var meta metav1.TypeMeta
		if err := json.Unmarshal(item, &meta); err != nil {
			return nil, fmt.Errorf("%s: items[%d]: %w", file, i, err)
		}
		object, err := empty(meta)
		if err == nil {
			err = json.Unmarshal(item, object)
		}
		if err == nil && object.GetUID() == "" {
			err = fmt.Errorf("%s %s has no uid", meta.Kind, object.GetName())
		}
		if err != nil {
			return nil, fmt.Errorf("%s: items[%d]: %w", file, i, err)
		}
		objects = append(objects, object)
	}
	return objects, nil
}

func empty(meta metav1.TypeMeta) (client.Object, error) {
	if meta.APIVersion == v1alpha1.GroupVersion.String() {
		switch meta.Kind {
		case "AlignmentRun":
			return &v1alpha1.AlignmentRun{}, nil
		case "ScoringBatch":
			return &v1alpha1.ScoringBatch{}, nil
		case "PreferenceDataset":
			return &v1alpha1.PreferenceDataset{}, nil
		}
	}
	return nil, fmt.Errorf("%s %s is not an AlignmentRun, ScoringBatch or PreferenceDataset of %s", meta.APIVersion, meta.Kind, v1alpha1.GroupVersion)
}
