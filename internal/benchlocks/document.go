package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// The figures stand in the document between these lines; what people write stands around them.
const (
	figuresBegin = "<!-- figures: written by the benchmark, changes here are lost -->"
	figuresEnd   = "<!-- end of figures -->"
)

const (
	documentFile = "benchmarks.md"
	pictureDir   = "benchmarks"
)

// write draws the pictures and writes the figures into the document.
func (b *bench) write(r *report, dir string) error {
	path := filepath.Join(dir, documentFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if _, err := replaceFigures(string(text), ""); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	drawn, err := b.drawAll(r, filepath.Join(dir, pictureDir))
	if err != nil {
		return err
	}
	changed, err := replaceFigures(string(text), r.markdown(heading(), drawn))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(changed), 0o644)
}

// heading says when and on what the figures were measured.
func heading() string {
	h := fmt.Sprintf("Measured on %s, %s/%s with %d processors, %s", clock.Wall().UTC().Format("2006-01-02"),
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	for _, argv := range [][]string{{"redis-server", "--version"}, {"etcd", "--version"}} {
		if out, err := exec.Command(argv[0], argv[1:]...).Output(); err == nil {
			h += ", " + argv[0] + " " + versionIn(string(out))
		}
	}
	return h + "."
}

// versionIn finds the version in the first line of what a server says of itself: "... v=7.0.15 ..." or
// "etcd Version: 3.4.23".
func versionIn(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	for word := range strings.FieldsSeq(line) {
		v := strings.TrimPrefix(word, "v=")
		if v[0] >= '0' && v[0] <= '9' {
			return v
		}
	}
	return "of unknown version"
}

var errMarks = errors.New("must have the line " + figuresBegin + " once, and after it " + figuresEnd)

// replaceFigures puts new figures between the marks.
func replaceFigures(text, figures string) (string, error) {
	before, rest, ok := strings.Cut(text, figuresBegin+"\n")
	_, after, okEnd := strings.Cut(rest, figuresEnd+"\n")
	if !ok || !okEnd || strings.Count(text, figuresBegin) != 1 || strings.Count(text, figuresEnd) != 1 {
		return "", errMarks
	}
	return before + figuresBegin + "\n\n" + strings.TrimSpace(figures) + "\n\n" + figuresEnd + "\n" + after, nil
}

// markdown returns the tables, the pictures and the aims.
func (r *report) markdown(heading string, drawn []picture) string {
	var w strings.Builder
	fmt.Fprintln(&w, heading)
	for _, sc := range r.plan.scenarios {
		rows := r.table(sc)
		if len(rows) == 1 {
			continue
		}
		fmt.Fprintf(&w, "\n### %s\n\n", sc.title)
		fmt.Fprintf(&w, "%s\n\n", strings.TrimPrefix(r.caption(sc), sc.title+"; "))
		writeRows(&w, rows)
		for _, p := range drawn {
			if p.of == sc.name {
				fmt.Fprintf(&w, "\n![%s](%s/%s)\n", p.title, pictureDir, p.file)
			}
		}
	}
	for i, text := range r.failures {
		if i == 0 {
			fmt.Fprint(&w, "\n### Failed turns, which have no figures\n\n")
		}
		fmt.Fprintf(&w, "- %s\n", text)
	}
	if verdicts := r.verdicts(); len(verdicts) > 0 {
		fmt.Fprint(&w, "\n### Aims, on five redis-server\n\n")
		rows := [][]string{{"aim", "found"}}
		for _, v := range verdicts {
			rows = append(rows, []string{v.text, v.outcome})
		}
		writeRows(&w, rows)
	}
	return w.String()
}

// writeRows writes a table, the first row being its head.
func writeRows(w *strings.Builder, rows [][]string) {
	for i, row := range rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(w, "|---|%s\n", strings.Repeat("---:|", len(row)-1))
		}
	}
}
