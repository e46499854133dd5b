// Package monitoring has a real Prometheus scrape a real operator, and asks it everything that the dashboard, the alerts and
// the page of the metrics ask.
package monitoring

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/yaml"
)

const (
	dashboardFile = "../../charts/spatialalign/dashboards/spatialalign.json"
	page          = "../../docs/metrics.md"
	// rendered is the chart with all its values, among them the alerts.
	rendered = "../chart/testdata/all-values.yaml"
	patience = 3 * time.Minute
)

func TestMonitoring(t *testing.T) {
	program := os.Getenv("PROMETHEUS")
	if program == "" {
		t.Fatal("PROMETHEUS names no program: make test-monitoring builds one and runs this test")
	}
	ctrl.SetLogger(logr.Discard())
	c := newCluster(t)
	address := c.operate(t)
	if code := status(t, address); code != http.StatusUnauthorized {
		t.Errorf("who does not say who they are gets %d from the metrics, want 401", code)
	}
	c.populate(t)
	p := c.scrape(t, program, address)

	t.Run("every panel shows something", func(t *testing.T) {
		for title, queries := range panels(t) {
			for _, query := range queries {
				p.answers(t, title, query)
			}
		}
	})
	t.Run("every query of the page answers", func(t *testing.T) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		_, queries, _ := strings.Cut(string(text), "\n## Queries\n")
		queries, _, _ = strings.Cut(queries, "\n## ")
		found := regexp.MustCompile(`(?m)^    (.+)$`).FindAllStringSubmatch(queries, -1)
		if len(found) == 0 {
			t.Fatal("the page has no query")
		}
		for _, query := range found {
			p.answers(t, page, query[1])
		}
	})
	t.Run("the numbers are the cluster's", func(t *testing.T) {
		for query, want := range map[string]string{
			`sum(spatialalign_gpus_in_use{namespace="team-a",stage="Track"})`:                             "2",
			`sum(spatialalign_gpu_seconds_total{stage="Track",outcome="Interrupted"}) >= bool 7200`:       "1",
			`sum(spatialalign_gpu_seconds_total{stage="Track",outcome="Succeeded"}) >= bool 7200`:         "1",
			`sum(spatialalign_used_gpu_seconds_total) >= bool 21600`:                                      "1",
			`sum(spatialalign_used_gpu_seconds_total) - sum(spatialalign_gpu_seconds_total) >= bool 7200`: "1",
			`sum(spatialalign_used_gpu_seconds_total) - sum(spatialalign_recorded_gpu_seconds) < bool 1`:  "1",
			`sum(spatialalign_stage_attempts_total{runtime="tracker",stage="Track",outcome="GPUFault"})`:  "1",
			`sum(spatialalign_runs_finished_total{reason="InvalidSpec"})`:                                 "1",
			`sum(spatialalign_runs{phase="Failed"})`:                                                      "1",
			`sum(spatialalign_gpu_pod_interruptions_total)`:                                               "1",
			`count(spatialalign_runs{runtime="no-such-runtime"}) or vector(0)`:                            "0",
			`count({__name__=~"spatialalign_.*",exported_namespace!=""}) or vector(0)`:                    "0",
		} {
			p.until(t, query, func(values []string) bool { return len(values) == 1 && values[0] == want }, "want "+want)
		}
	})
	t.Run("alerts are healthy, and the operator is up", func(t *testing.T) {
		var answer struct {
			Data struct {
				Groups []struct {
					Rules []struct{ Name, Health, State, LastError string }
				}
			}
		}
		time.Sleep(2 * time.Second) // rules are evaluated every second
		p.get(t, "/api/v1/rules", &answer)
		rules := 0
		for _, g := range answer.Data.Groups {
			for _, r := range g.Rules {
				rules++
				if r.Health != "ok" || r.Name == "SpatialAlignOperatorDown" && r.State != "inactive" {
					t.Errorf("%s is %s, %s: %s", r.Name, r.Health, r.State, r.LastError)
				}
			}
		}
		if rules != 4 {
			t.Errorf("%d alerts, want 4", rules)
		}
	})
}

// panels of the dashboard with their queries, its variables filled in as Grafana does.
func panels(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			found[p.Title] = append(found[p.Title], strings.NewReplacer("$namespace", ".*", "$runtime", ".*", "$__range", "5m").Replace(target.Expr))
		}
	}
	return found
}

// alerts of the chart, as a file of rules.
func alerts(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(rendered)
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range strings.Split(string(text), "---\n") {
		var o struct {
			Kind string
			Spec json.RawMessage
		}
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			t.Fatal(err)
		}
		if o.Kind == "PrometheusRule" {
			return o.Spec // JSON is YAML
		}
	}
	t.Fatalf("%s has no PrometheusRule", rendered)
	return nil
}

// prometheus answers queries at an address.
type prometheus string

func (p prometheus) get(t *testing.T, path string, into any) {
	t.Helper()
	res, err := http.Get("http://" + string(p) + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, body)
	}
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// query returns the values of the series that a query finds now.
func (p prometheus) query(t *testing.T, query string) []string {
	t.Helper()
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	p.get(t, "/api/v1/query?query="+url.QueryEscape(query), &answer)
	var values []string
	for _, r := range answer.Data.Result {
		values = append(values, fmt.Sprint(r.Value[1]))
	}
	return values
}

func (p prometheus) answers(t *testing.T, of, query string) {
	t.Helper()
	p.until(t, query, func(values []string) bool { return len(values) > 0 }, "of "+of)
}

func (p prometheus) until(t *testing.T, query string, so func([]string) bool, what string) {
	t.Helper()
	var values []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(300 * time.Millisecond) {
		if values = p.query(t, query); so(values) {
			return
		}
	}
	t.Errorf("%s answers %v, %s", query, values, what)
}
