package chart

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// dashboard is what is checked of a Grafana dashboard.
type dashboard struct {
	UID        string
	Templating struct {
		List []struct{ Name, Definition string }
	}
	Panels []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ H, W, X, Y int }
		Targets []struct{ Expr string }
	}
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chart, "dashboards", "spatialalign.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// The ConfigMap holds the file as it is, with the label that Grafana's sidecar looks for.
func TestDashboardConfigMap(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chart, "dashboards", "spatialalign.json"))
	if err != nil {
		t.Fatal(err)
	}
	objects, _ := render(t, "metrics: {dashboard: {enabled: true, labels: {folder: gpus}}}")
	config := one[corev1.ConfigMap](t, objects, "ConfigMap")
	if diff := gocmp.Diff(string(text), config.Data["spatialalign.json"]+"\n"); diff != "" {
		t.Errorf("the ConfigMap differs from the file: %s", diff)
	}
	if config.Labels["grafana_dashboard"] != "1" || config.Labels["folder"] != "gpus" {
		t.Errorf("its labels are %v", config.Labels)
	}
}

// Panels have ids of their own, do not overlap, and take the variables of the dashboard.
func TestDashboardLayout(t *testing.T) {
	d := readDashboard(t)
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("panel %q: its id %d is another's", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok || x >= 24 {
					t.Fatalf("panel %q lies over %q or beyond the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if (p.Type == "row") != (len(p.Targets) == 0) {
			t.Errorf("panel %q of type %s has %d queries", p.Title, p.Type, len(p.Targets))
		}
		for _, target := range p.Targets {
			if n := len(regexp.MustCompile(`namespace=~"\$namespace", runtime=~"\$runtime"`).FindAllString(target.Expr, -1)); n != len(metricName.FindAllString(target.Expr, -1)) {
				t.Errorf("panel %q does not go by the variables everywhere: %s", p.Title, target.Expr)
			}
		}
	}
}

var (
	metricName   = regexp.MustCompile(`\bspatialalign_[a-z_]+`)
	histogramEnd = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// docs/metrics.md has every metric, as a test of internal/metrics proves. The dashboard shows each, and neither it nor an alert asks for another.
func TestDashboardAndAlertsKnowTheMetrics(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(spatialalign_[a-z_]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		documented[row[1]] = true
	}
	var queries []string
	d := readDashboard(t)
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			queries = append(queries, target.Expr)
		}
	}
	shown := named(queries)
	if diff := gocmp.Diff(slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(shown))); diff != "" {
		t.Errorf("dashboard (-documented +shown): %s", diff)
	}
	for _, v := range d.Templating.List {
		queries = append(queries, v.Definition)
	}
	objects, _ := render(t, "metrics: {alerts: {enabled: true}}")
	for name := range named(append(queries, asYAML(t, ofKind(objects, "PrometheusRule")))) {
		if !documented[name] {
			t.Errorf("%s is no metric", name)
		}
	}
}

// named are the metrics that texts name.
func named(texts []string) map[string]bool {
	names := map[string]bool{}
	for _, text := range texts {
		for _, name := range metricName.FindAllString(text, -1) {
			names[histogramEnd.ReplaceAllString(name, "")] = true
		}
	}
	return names
}
