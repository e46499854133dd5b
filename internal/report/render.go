package report

import (
	"bytes"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed page
var page embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"fixed":    func(v *float64) string { return fmt.Sprintf("%.3f", *v) },
	"relation": groupName,
	"short":    shortDigest,
	"took":     func(seconds int64) string { return (time.Duration(seconds) * time.Second).String() },
	"below":    func(v float64) float64 { return v + 16 },
	"above":    func(v float64) float64 { return v - 9 },
}).ParseFS(page, "page/*"))

// Render makes the files of a report: index.html, which stands alone, and beside it report.json,
// accuracy.svg (once an iteration is evaluated) and the videos, named by digest.
func Render(d Data, videos map[string][]byte) (map[string][]byte, error) {
	files := make(map[string][]byte)
	data, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("report.json: %w", err)
	}
	files["report.json"] = append(data, '\n')
	for digest, video := range videos {
		files[videoFolder+strings.TrimPrefix(digest, "sha256:")+extension(mediaType(video))] = video
	}
	v := newView(&d, videos)
	if v.AccuracyChart != nil {
		if files["accuracy.svg"], err = execute("accuracy.svg", v.AccuracyChart); err != nil {
			return nil, err
		}
	}
	files["index.html"], err = execute("index.html", v)
	return files, err
}

func execute(name string, data any) ([]byte, error) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b.Bytes(), nil
}

func extension(mediaType string) string {
	switch mediaType {
	case "image/gif":
		return ".gif"
	case "video/mp4":
		return ".mp4"
	default:
		return ".webm"
	}
}

// view is what index.html shows.
type view struct {
	*Data
	Base, Reached  *float64 // headline accuracy of the baseline and of the best
	Gain           string
	Rounds         int // iterations, the baseline not counted
	AccuracyChart  *Chart
	ThresholdChart *Chart
	Rows           []row
	Histograms     []histograms
	Courses        []*Chart
	Groups, Guards table
	Shows          []show
}

// row is an iteration in the table.
type row struct {
	Iteration
	Headline, Verdict string
	Best              bool
}

type histograms struct {
	Iteration           Iteration
	Evaluation, Samples *Chart
}

// table has a column per iteration.
type table struct {
	Columns []int32
	Rows    []tableRow
}

type tableRow struct {
	Name  string
	Note  string
	Cells []string
}

// show is a gallery with its words.
type show struct {
	Title, Text string
	Cards       []card
}

type card struct {
	Row
	Left, Right figure
}

type figure struct {
	Clip
	// Source is a data URI, empty when the video is not there. It is made of base64 and a media type
	// of ours, nothing else.
	Source  template.URL
	Playing bool // a video element, not an image
	// Pixelated scales small pictures without blurring.
	Pixelated bool
	Caption   string
	// Pass says that the score reaches the headline threshold.
	Pass bool
}

func newView(d *Data, videos map[string][]byte) view {
	v := view{Data: d, AccuracyChart: accuracyChart(d), ThresholdChart: thresholdChart(d), Groups: groups(d), Guards: guards(d)}
	for _, it := range d.Iterations {
		if it.Number > 0 {
			v.Rounds++
		}
		if value, ok := it.Evaluation.At(d.Threshold); ok && it.Number == 0 {
			v.Base = &value
		}
		v.Rows = append(v.Rows, newRow(d, it))
		h := histograms{Iteration: it}
		if it.Evaluation != nil {
			h.Evaluation = histogram("Scores of the evaluation samples", it.Evaluation.Found, d.Threshold)
		}
		if it.Samples != nil {
			h.Samples = histogram("Scores of the training samples", it.Samples.Found, d.Threshold)
		}
		if h.Evaluation != nil || h.Samples != nil {
			v.Histograms = append(v.Histograms, h)
		}
	}
	if d.Best != nil && d.Best.Iteration > 0 {
		v.Reached = &d.Best.Accuracy
		if v.Base != nil {
			v.Gain = fmt.Sprintf("%+.3f", *v.Reached-*v.Base)
		}
	}
	for _, metric := range courseMetrics(d) {
		v.Courses = append(v.Courses, courseChart(d, metric))
	}
	for _, gallery := range d.Galleries {
		v.Shows = append(v.Shows, newShow(gallery, videos, decimal(d.Threshold)))
	}
	return v
}

func newRow(d *Data, it Iteration) row {
	r := row{Iteration: it, Headline: "–", Best: d.Best != nil && d.Best.Iteration == it.Number}
	if value, ok := it.Evaluation.At(d.Threshold); ok {
		r.Headline = fmt.Sprintf("%.3f", value)
	}
	if it.Accepted != nil {
		r.Verdict = map[bool]string{true: "yes", false: "no"}[*it.Accepted]
	}
	return r
}

// courseMetrics are the metrics of the training, the loss first.
func courseMetrics(d *Data) []string {
	names := make(map[string]bool)
	for _, it := range d.Iterations {
		for _, p := range it.Course {
			for name := range p.Values {
				names[name] = true
			}
		}
	}
	sorted := slices.Sorted(maps.Keys(names))
	slices.SortStableFunc(sorted, func(a, b string) int {
		return strings.Compare(strconv.FormatBool(a != "loss"), strconv.FormatBool(b != "loss"))
	})
	return sorted
}

func groups(d *Data) table {
	var t table
	names := make(map[string]int64)
	for _, it := range d.Iterations {
		if it.Evaluation == nil || it.Evaluation.Found == nil {
			continue
		}
		t.Columns = append(t.Columns, it.Number)
		for _, g := range it.Evaluation.Found.Groups {
			names[g.Name] = g.Total
		}
	}
	order := slices.Sorted(maps.Keys(names))
	// Relations are upper case and sort first; the classes are what people look for.
	slices.SortStableFunc(order, func(a, b string) int { return strings.Compare(rank(a), rank(b)) })
	for _, name := range order {
		row := tableRow{Name: groupName(name), Note: fmt.Sprintf("%d samples", names[name])}
		for _, it := range d.Iterations {
			if it.Evaluation == nil || it.Evaluation.Found == nil {
				continue
			}
			cell := "–"
			for _, g := range it.Evaluation.Found.Groups {
				if g.Name == name && g.Total > 0 {
					cell = fmt.Sprintf("%.3f", float64(g.Reached)/float64(g.Total))
				}
			}
			row.Cells = append(row.Cells, cell)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func rank(group string) string {
	if group == GroupSeen || group == GroupUnseen {
		return "0"
	}
	return "1"
}

var relationNames = map[byte]string{'L': "left", 'R': "right", 'T': "top"}

// groupName writes a relation out: LR is "left → right".
func groupName(name string) string {
	if len(name) == 2 && relationNames[name[0]] != "" && relationNames[name[1]] != "" {
		return relationNames[name[0]] + " → " + relationNames[name[1]]
	}
	return name
}

func guards(d *Data) table {
	var t table
	names := make(map[string]bool)
	for _, it := range d.Iterations {
		if it.Evaluation == nil || len(it.Evaluation.Guards) == 0 {
			continue
		}
		t.Columns = append(t.Columns, it.Number)
		for _, m := range it.Evaluation.Guards {
			names[m.Name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		row := tableRow{Name: name}
		for _, it := range d.Iterations {
			if it.Evaluation == nil || len(it.Evaluation.Guards) == 0 {
				continue
			}
			cell := "–"
			for _, m := range it.Evaluation.Guards {
				if m.Name == name {
					cell = m.Value
				}
			}
			row.Cells = append(row.Cells, cell)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func newShow(gallery Gallery, videos map[string][]byte, threshold float64) show {
	var s show
	var left, right string
	switch gallery.Kind {
	case BeforeAfter:
		s.Title, left, right = "Before and after", "Base model", fmt.Sprintf("Iteration %d", gallery.Iteration)
		s.Text = "Held-out prompts with the same seed on both sides. Prompts are taken by relation and id, and of each the first seed: nothing here was picked by its score."
	default:
		s.Title, left, right = fmt.Sprintf("Winners and losers of iteration %d", gallery.Iteration), "Winner", "Loser"
		s.Text = "What the training of this iteration preferred: of each prompt the best winner and the worst loser among its samples."
	}
	for _, row := range gallery.Rows {
		s.Cards = append(s.Cards, card{
			Row: row, Left: newFigure(row.Left, left, videos, threshold), Right: newFigure(row.Right, right, videos, threshold),
		})
	}
	return s
}

func newFigure(clip Clip, caption string, videos map[string][]byte, threshold float64) figure {
	f := figure{Clip: clip, Caption: caption, Pass: clip.Score != nil && *clip.Score >= threshold}
	if clip.Video == nil {
		return f
	}
	data := videos[clip.Video.Digest]
	kind := mediaType(data)
	if kind == "" {
		return f
	}
	f.Source = template.URL("data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(data))
	f.Playing = kind != "image/gif"
	f.Pixelated = clip.Video.Width <= 256
	return f
}

// shortDigest is what people compare.
func shortDigest(digest string) string {
	hex := strings.TrimPrefix(digest, "sha256:")
	return hex[:min(len(hex), 12)]
}
