package lineage

import (
	"bytes"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/spatialalign/operator/internal/contract"
)

// Facts are what the model card tells beside the record.
type Facts struct {
	// Verdict of the comparison with the best adapter before; nil where nothing was compared.
	Verdict *contract.Verdict
	// Prompts counts the prompts of each set.
	Prompts map[string]int
}

//go:embed card.md.tmpl
var cardText string

var cardTemplate = template.Must(template.New("card").Funcs(template.FuncMap{
	"quote":   strconv.Quote, // a JSON string, and so a YAML one
	"cell":    cell,
	"orOwn":   orOwn,
	"percent": percent,
}).Parse(cardText))

// Card writes the model card of a record, in the form that model hubs read: front matter, then Markdown.
// The same record and facts give the same bytes.
func Card(record *contract.LineageRecord, facts Facts) ([]byte, error) {
	_, made := record.Artifacts["adapter"]
	var out bytes.Buffer
	err := cardTemplate.Execute(&out, map[string]any{
		"Record":  record,
		"Facts":   facts,
		"Made":    made,
		"Guards":  startingWith(record.Results, "guard/"),
		"Others":  without(record.Results, "guard/"),
		"Digests": slices.Sorted(maps.Keys(record.Artifacts)),
		"Sets":    slices.Sorted(maps.Keys(facts.Prompts)),
	})
	if err != nil {
		return nil, fmt.Errorf("model card: %w", err)
	}
	return out.Bytes(), nil
}

// cell makes text fit into one cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\r", " ", "\n", " ").Replace(text)
}

// orOwn shows a setting that the runtime chooses itself when it is not set.
func orOwn(value any) string {
	if text := fmt.Sprint(value); text != "" && text != "0" {
		return cell(text)
	}
	return "the runtime's own"
}

// percent writes a decimal such as 0.95 as 95 %.
func percent(decimal string) string {
	x, err := strconv.ParseFloat(decimal, 64)
	if err != nil {
		return decimal
	}
	return strconv.FormatFloat(100*x, 'g', 6, 64) + " %"
}

func startingWith(results map[string]string, prefix string) map[string]string {
	found := map[string]string{}
	for name, value := range results {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			found[rest] = value
		}
	}
	return found
}

func without(results map[string]string, prefix string) map[string]string {
	rest := maps.Clone(results)
	maps.DeleteFunc(rest, func(name, _ string) bool { return strings.HasPrefix(name, prefix) })
	return rest
}
