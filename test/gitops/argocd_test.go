package gitops

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// health checks of Argo CD, by the key of its ConfigMap.
type healthChecks map[string]string

// scripts reads a patch of Argo CD's ConfigMap.
func scripts(t *testing.T, file string) healthChecks {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "config", "argocd", file))
	if err != nil {
		t.Fatal(err)
	}
	var patch struct {
		Kind     string            `json:"kind"`
		Metadata map[string]string `json:"metadata"`
		Data     healthChecks      `json:"data"`
	}
	if err := yaml.Unmarshal(data, &patch); err != nil {
		t.Fatal(err)
	}
	if patch.Kind != "ConfigMap" || patch.Metadata["name"] != "argocd-cm" {
		t.Fatalf("%s is a %s named %s, not a patch of argocd-cm", file, patch.Kind, patch.Metadata["name"])
	}
	return patch.Data
}

// health runs the script for an object's kind as Argo CD does: with its libraries, and no others.
func (h healthChecks) health(t *testing.T, object *unstructured.Unstructured) string {
	t.Helper()
	gvk := object.GroupVersionKind()
	script := h["resource.customizations.health."+gvk.Group+"_"+gvk.Kind]
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			t.Fatal(err)
		}
	}
	state.SetGlobal("obj", value(state, object.Object))
	if err := state.DoString(script); err != nil {
		t.Fatal(err)
	}
	verdict, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("the script for %s returns %s", gvk.Kind, state.Get(-1).Type())
	}
	if message := verdict.RawGetString("message"); strings.TrimSpace(lua.LVAsString(message)) == "" {
		t.Errorf("health of %s has no message", object.GetName())
	}
	return lua.LVAsString(verdict.RawGetString("status"))
}

// value is a JSON value in Lua.
func value(state *lua.LState, v any) lua.LValue {
	switch v := v.(type) {
	case map[string]any:
		table := state.NewTable()
		for key, element := range v {
			table.RawSetString(key, value(state, element))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, element := range v {
			table.Append(value(state, element))
		}
		return table
	case string:
		return lua.LString(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	case bool:
		return lua.LBool(v)
	default:
		return lua.LNil
	}
}
