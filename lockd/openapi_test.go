package lockd

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files")

type openAPIDocument struct {
	OpenAPI    string `json:"openapi"`
	Paths      map[string]map[string]openAPIOperation
	Components struct{ Schemas map[string]map[string]any }
}

type openAPIOperation struct {
	OperationID string
	Summary     string
	Parameters  []struct{ Name, In, Description string }
	Responses   map[string]struct{ Content map[string]any }
}

func served(t *testing.T) (openAPIDocument, string) {
	s, _ := newFakeServer(t, Config{Version: "golden"})
	a := ask(s, request(context.Background(), "GET", "/openapi.json", ""))
	require.Equal(t, 200, a.status)
	assert.Equal(t, "application/openapi+json", a.header.Get("Content-Type"))
	var doc openAPIDocument
	a.into(t, &doc)
	return doc, a.text
}

// Ensure that the served document is the one in testdata, so that a change of the API is seen as one.
func TestOpenAPI_Golden(t *testing.T) {
	_, text := served(t)
	golden := filepath.Join("testdata", "openapi.json")
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(text), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), text, "run the test with -update and review the difference")
}

// Ensure that the document holds together: every operation says what it does and what goes wrong, path
// parameters are those of the path, and every reference leads somewhere and every schema is used.
func TestOpenAPI_Consistent(t *testing.T) {
	doc, text := served(t)
	assert.Equal(t, "3.1.0", doc.OpenAPI)
	ids := map[string]bool{}
	for path, item := range doc.Paths {
		for method, op := range item {
			where := method + " " + path
			assert.NotEmpty(t, op.Summary, where)
			assert.False(t, ids[op.OperationID], where)
			ids[op.OperationID] = true
			var inPath []string
			for _, p := range op.Parameters {
				assert.NotEmpty(t, p.Description, "%s %s", where, p.Name)
				if p.In == "path" {
					inPath = append(inPath, "{"+p.Name+"}")
				}
			}
			assert.ElementsMatch(t, regexp.MustCompile(`\{[^}]*\}`).FindAllString(path, -1), inPath, where)
			if strings.HasPrefix(path, "/v1/") {
				assert.Contains(t, op.Responses, "422", where)
			}
			for status, res := range op.Responses {
				if status >= "400" {
					assert.Contains(t, res.Content, "application/problem+json", where)
				}
			}
		}
	}
	used := map[string]bool{}
	for _, ref := range regexp.MustCompile(`"\$ref": "#/components/schemas/([^"]*)"`).FindAllStringSubmatch(text, -1) {
		assert.Contains(t, doc.Components.Schemas, ref[1])
		used[ref[1]] = true
	}
	for name := range doc.Components.Schemas {
		assert.True(t, used[name], "schema %s is not used", name)
	}
}

// Ensure that the document and the mux agree: every documented operation exists, and every route of this
// package is documented.
func TestOpenAPI_Routes(t *testing.T) {
	doc, _ := served(t)
	s, _ := newFakeServer(t, Config{})
	for path, item := range doc.Paths {
		concrete := regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(path, "x")
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH"} {
			status := ask(s, request(context.Background(), method, concrete, "{}")).status
			_, documented := item[strings.ToLower(method)]
			assert.Equal(t, !documented, status == 405, "%s %s: %d", method, path, status)
		}
	}
	for _, path := range []string{"/docs", "/openapi.yaml", "/openapi-3.0.json", "/schemas/Problem", "/openapi"} {
		assert.Equal(t, 404, ask(s, request(context.Background(), "GET", path, "")).status, path)
	}
}

// Ensure that an answer has the fields that the document says it has, no more and no less than the required
// ones.
func TestOpenAPI_Answers(t *testing.T) {
	doc, _ := served(t)
	s, _ := newFakeServer(t, Config{})
	acquired := ask(s, request(context.Background(), "POST", "/v1/locks/job", `{"owner":"w"}`))
	for schema, a := range map[string]answer{
		"LeaseInfo": acquired,
		"LockInfo":  ask(s, request(context.Background(), "GET", "/v1/locks/job", "")),
		"Ready":     ask(s, request(context.Background(), "GET", "/readyz", "")),
		"Alive":     ask(s, request(context.Background(), "GET", "/healthz", "")),
		"Problem":   ask(s, request(context.Background(), "POST", "/v1/locks/job", `{}`)),
	} {
		var got map[string]any
		require.NoError(t, json.Unmarshal([]byte(a.text), &got))
		properties, _ := doc.Components.Schemas[schema]["properties"].(map[string]any)
		for field := range got {
			assert.Contains(t, properties, field, schema)
		}
		required, _ := doc.Components.Schemas[schema]["required"].([]any)
		for _, field := range required {
			assert.Contains(t, got, field, schema)
		}
	}
}

// Ensure that the index lists every operation.
func TestIndex(t *testing.T) {
	doc, _ := served(t)
	s, _ := newFakeServer(t, Config{})
	a := ask(s, request(context.Background(), "GET", "/", ""))
	assert.Equal(t, "text/plain; charset=utf-8", a.header.Get("Content-Type"))
	for path, item := range doc.Paths {
		for method, op := range item {
			assert.Regexp(t, regexp.QuoteMeta(path)+` +`+strings.ToUpper(method)+` +`+regexp.QuoteMeta(op.Summary), a.text)
		}
	}
}
