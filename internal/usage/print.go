package usage

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Output formats.
const (
	Table = "table"
	CSV   = "csv"
	JSON  = "json"
)

// CheckOutput refuses an output format that is unknown.
func CheckOutput(format string) error {
	if format != Table && format != CSV && format != JSON {
		return fmt.Errorf("-o %s: the formats are %s, %s and %s", format, Table, CSV, JSON)
	}
	return nil
}

// Print rows in a format: tables in GPU-hours with a total, for people; CSV and JSON in GPU-seconds, without.
func Print(w io.Writer, rows []Row, by []string, format string) error {
	switch format {
	case JSON:
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(append([]Row{}, rows...)) // [] where there are none
	case CSV:
		return printCSV(w, rows, by)
	default:
		return printTable(w, rows, by)
	}
}

func printTable(w io.Writer, rows []Row, by []string) error {
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, "No GPU time is recorded.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	line := func(r Row, keys []string) {
		keys = append(keys, hours(r.GPUSeconds), hours(r.UsefulGPUSeconds), hours(r.FailedGPUSeconds), hours(r.InterruptedGPUSeconds))
		fmt.Fprintln(t, strings.Join(keys, "\t"))
	}
	header := append(columns(by), "GPU-HOURS", "USEFUL", "FAILED", "INTERRUPTED")
	fmt.Fprintln(t, strings.ToUpper(strings.Join(header, "\t")))
	for _, r := range rows {
		line(r, values(r, by))
	}
	last := make([]string, len(columns(by)))
	last[0] = "total"
	line(Total(rows), last)
	return t.Flush()
}

func printCSV(w io.Writer, rows []Row, by []string) error {
	c := csv.NewWriter(w)
	_ = c.Write(append(columns(by), "gpuSeconds", "usefulGPUSeconds", "failedGPUSeconds", "interruptedGPUSeconds")) // Error tells
	for _, r := range rows {
		_ = c.Write(append(values(r, by), fmt.Sprint(r.GPUSeconds), fmt.Sprint(r.UsefulGPUSeconds), fmt.Sprint(r.FailedGPUSeconds), fmt.Sprint(r.InterruptedGPUSeconds)))
	}
	c.Flush()
	return c.Error()
}

// columns are the keys asked for, each once, in their own order.
func columns(by []string) []string {
	return slices.DeleteFunc(slices.Clone(Keys), func(k string) bool { return !slices.Contains(by, k) })
}

func values(r Row, by []string) []string {
	var list []string
	for _, k := range columns(by) {
		list = append(list, *r.keys()[k])
	}
	return list
}

// hours with two decimals; what is less than that is not told as nothing.
func hours(seconds int64) string {
	if seconds > 0 && seconds < 18 {
		return "<0.01"
	}
	return fmt.Sprintf("%.2f", float64(seconds)/3600)
}
