// Package references finds the artifacts that an object names, wherever in its spec or status they stand:
// a field that is added to the API later is found too.
package references

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spatialalign/operator/internal/contract"
)

// Reference is an artifact that an object names.
type Reference struct {
	// Path of fields that leads to it, such as status.iterations[2].pairs.artifact.
	Path []string
	// Name that stands beside key and digest in lists of outputs, such as index/train.
	Name string
	contract.Artifact
}

// Kind of the artifact in a word, such as pairs, adapter or scores.
func (r Reference) Kind() string {
	if r.Name != "" {
		kind, _, _ := strings.Cut(r.Name, "/")
		return kind
	}
	last := len(r.Path) - 1
	if last > 0 && (r.Path[last] == "artifact" || r.Path[last-1] == "prompts") {
		last--
	}
	return r.Path[last]
}

// Of an object, in the order of its fields' names. Every object of its JSON that has a key is one, but for
// keys of something else with a name, such as a ConfigMap. The digest may be empty where a user named a file.
func Of(object any) ([]Reference, error) {
	data, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("references: %w", err)
	}
	var tree any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&tree); err != nil {
		return nil, fmt.Errorf("references: %w", err)
	}
	return walk(nil, nil, tree), nil
}

func walk(found []Reference, path []string, node any) []Reference {
	switch node := node.(type) {
	case []any:
		for _, item := range node {
			found = walk(found, path, item)
		}
	case map[string]any:
		if key, ok := node["key"].(string); ok {
			name, _ := node["name"].(string)
			digest, _ := node["digest"].(string)
			if name == "" || digest != "" {
				found = append(found, Reference{path, name, contract.Artifact{Key: key, Digest: digest}})
			}
		}
		for _, field := range slices.Sorted(maps.Keys(node)) {
			found = walk(found, append(slices.Clip(path), field), node[field])
		}
	}
	return found
}
