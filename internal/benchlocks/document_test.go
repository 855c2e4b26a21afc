package main

import (
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Ensure that figures replace figures, as often as one likes, and nothing that people wrote.
func TestReplaceFigures(t *testing.T) {
	text := "# Title\n\nwords\n\n" + figuresBegin + "\nold\n" + figuresEnd + "\nmore words\n"
	once, err := replaceFigures(text, "new\n")
	require.NoError(t, err)
	assert.Equal(t, "# Title\n\nwords\n\n"+figuresBegin+"\n\nnew\n\n"+figuresEnd+"\nmore words\n", once)
	twice, err := replaceFigures(once, "new")
	require.NoError(t, err)
	assert.Equal(t, once, twice)
}

// Ensure that a document without its marks, or with two of them, is left alone.
func TestReplaceFigures_Marks(t *testing.T) {
	for _, text := range []string{
		"", figuresBegin + "\n", figuresEnd + "\n", figuresEnd + "\n" + figuresBegin + "\n",
		figuresBegin + "\n" + figuresBegin + "\n" + figuresEnd + "\n",
		figuresBegin + "\n" + figuresEnd + "\n" + figuresEnd + "\n",
	} {
		_, err := replaceFigures(text, "new")
		assert.ErrorIs(t, err, errMarks, "%q", text)
	}
}

// Ensure that the document that is kept in the repository has its marks.
func TestDocument_Marks(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", documentFile))
	require.NoError(t, err)
	_, err = replaceFigures(string(text), "")
	assert.NoError(t, err)
}

// sample returns a bench and a report with plausible figures of everything.
func sample(t *testing.T) (*bench, *report) {
	p, err := parsePlan(nil)
	require.NoError(t, err)
	r := newReport(p)
	b := &bench{plan: p, waits: map[string][]float64{}, gaps: map[string][]float64{}}
	for i, s := range subjects {
		us := float64(time.Duration(100*(i+1)) * time.Microsecond)
		f := figures{p50: us, p99: 3 * us, rate: 1000 / float64(i+1), healthy50: us, healthy99: 2 * us, healthyMax: 9 * us,
			slowest: 20 * us, grew50: 1, grew99: 1.5, gap50: us, gap99: 2 * us, wait99: us, unfair: math.Inf(1), commands: 12, overlaps: 0,
			taken: 9000, renewals: 10000, lost: 0, bytesEach: 1500, clientShare: 0.4, nodesShare: 0.3, cpuClients: us, cpuNodes: us}
		for _, sc := range scenarios {
			if sc.suits(s) {
				r.add(sc.name, s.name, 0, f)
			}
		}
		b.waits[s.name] = []float64{us, 2 * us, 4 * us}
		b.gaps[s.name] = []float64{0, us, 2 * us} // no gap at all must not break an axis that has no zero
	}
	return b, r
}

// Ensure that a whole document is written: a table of each scenario, every picture that it shows, the aims.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, documentFile)
	require.NoError(t, os.WriteFile(path, []byte("# T\n"+figuresBegin+"\n"+figuresEnd+"\nend\n"), 0o600))
	b, r := sample(t)
	r.fail(lockScenario, "etcd", 1, os.ErrDeadlineExceeded)
	require.NoError(t, b.write(r, dir))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, sc := range scenarios {
		assert.Contains(t, string(text), "\n### "+sc.title+"\n")
	}
	assert.Contains(t, string(text), "\n| Holdfast on 5 redis-server | 100 | 300 | 0.33 | 0.33 | 100 | 100 | - |\n")
	assert.Contains(t, string(text), "\n- lock, round 2, etcd: i/o timeout\n")
	assert.Contains(t, string(text), "| no lease lost | 0: met |")
	for _, p := range pictures {
		assert.Contains(t, string(text), "](benchmarks/"+p.file+")")
		file, err := os.Open(filepath.Join(dir, pictureDir, p.file))
		require.NoError(t, err)
		image, err := png.Decode(file)
		require.NoError(t, err)
		assert.Greater(t, image.Bounds().Dx(), 400, p.file)
		require.NoError(t, file.Close())
	}
}

// Ensure that a document that lacks its marks is found out before anything is written.
func TestWrite_NoMarks(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, documentFile), []byte("# T\n"), 0o600))
	b, r := sample(t)
	assert.ErrorIs(t, b.write(r, dir), errMarks)
	assert.NoDirExists(t, filepath.Join(dir, pictureDir))
	assert.ErrorIs(t, b.write(r, t.TempDir()), os.ErrNotExist)
}

// Ensure that the versions are found in what the servers say.
func TestVersionIn(t *testing.T) {
	assert.Equal(t, "7.0.15", versionIn("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64\n"))
	assert.Equal(t, "3.4.23", versionIn("etcd Version: 3.4.23\nGit SHA: Not provided\n"))
	assert.Equal(t, "of unknown version", versionIn(""))
}
