package house

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/holdfast-dev/holdfast"

// root is the top of the module, seen from this package.
const root = "../.."

// A goPackage is what `go list -json` tells of a package.
type goPackage struct {
	ImportPath string
	Dir        string
	Name       string
	Doc        string
	GoFiles    []string
	Imports    []string
	Deps       []string
	Standard   bool
}

// mayImport lists, for each room, the packages of this module and the outside modules that its code (not
// its tests) may import directly. A room that is missing here may import nothing but the standard library.
// A trailing "/..." stands for everything below.
var mayImport = map[string][]string{
	"cmd/holdfast":             {"client", "lockd", "pubsub", "redlock", "server/...", "internal/...", "github.com/alecthomas/kong", "golang.org/x/term", "golang.org/x/sync/errgroup", "github.com/redis/go-redis/v9"},
	"lockd":                    {"client", "pubsub", "internal/clock", "github.com/danielgtaylor/huma/v2/..."},
	"client/metrics":           {"client", "github.com/prometheus/client_golang/..."},
	"client":                   {"redlock", "pubsub", "internal/clock", "github.com/redis/go-redis/v9/..."},
	"redlock":                  {"internal/clock"},
	"pubsub":                   {"internal/glob"},
	"server":                   {"pubsub", "internal/...", "github.com/tidwall/redcon"},
	"server/servertest":        {"server", "internal/clock"},
	"internal/clock":           {"internal/clock/internal/skew"},
	"internal/clock/clocktest": {"internal/clock/internal/skew"},
	"internal/resp":            {"github.com/tidwall/redcon"},
	"internal/keyspace":        {"internal/ds", "internal/clock", "internal/glob"},
	"internal/lua":             {"internal/resp", "github.com/yuin/gopher-lua/..."},
	"internal/child":           {"golang.org/x/sys/unix"},
	"internal/ptytest":         {"golang.org/x/sys/unix"},
	"internal/testrun":         {"internal/clock"},
	"internal/e2e/...":         {"client", "redlock", "server/...", "internal/...", "github.com/redis/go-redis/v9/...", "github.com/go-redsync/redsync/v4/..."},
	"examples/goservice":       {"client"},
	"examples/cache":           {"github.com/redis/go-redis/v9"},
}

// never lists what must not be reached at all, however indirectly: a program that takes locks must not
// carry the server, and a node must not know its own clients.
var never = map[string][]string{
	"client":  {"server/...", "github.com/prometheus/...", "lockd", "internal/keyspace", "internal/lua", "internal/resp", "github.com/tidwall/...", "github.com/yuin/...", "github.com/stretchr/..."},
	"redlock": {"client", "server/...", "github.com/..."},
	"server":  {"client", "lockd", "redlock", "github.com/redis/...", "github.com/stretchr/..."},
	"lockd":   {"server/...", "github.com/stretchr/..."},
	"pubsub":  {"server/...", "client", "github.com/tidwall/..."},
}

func goList(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json"}, args...)...)
	cmd.Dir = root
	out, err := cmd.Output()
	require.NoError(t, err)
	var pkgs []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p goPackage
		require.NoError(t, dec.Decode(&p))
		pkgs = append(pkgs, p)
	}
	return pkgs
}

// matches reports whether an import path is covered by one of the patterns, which may leave the module's
// own path away.
func matches(path string, patterns []string) bool {
	short := strings.TrimPrefix(path, module+"/")
	for _, p := range patterns {
		if tree, ok := strings.CutSuffix(p, "/..."); ok {
			if short == tree || strings.HasPrefix(short, tree+"/") {
				return true
			}
		} else if short == p {
			return true
		}
	}
	return false
}

func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func rule(room string) []string {
	for pattern, allowed := range mayImport {
		if matches(module+"/"+room, []string{pattern}) {
			return allowed
		}
	}
	return nil
}

// Ensure that every package imports only what its room may.
func TestImports_Direction(t *testing.T) {
	for _, p := range goList(t, "./...") {
		room := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, imp := range p.Imports {
			if isStandard(imp) {
				continue
			}
			assert.Truef(t, matches(imp, rule(room)), "%s imports %s: mayImport does not list it", room, imp)
		}
	}
}

// Ensure that nothing forbidden is reached through a chain of imports.
func TestImports_Never(t *testing.T) {
	for room, forbidden := range never {
		for _, p := range goList(t, "./"+room) {
			for _, dep := range p.Deps {
				assert.Falsef(t, matches(dep, forbidden), "%s reaches %s", room, dep)
			}
		}
	}
}

// Ensure that every package says what it is for, in a comment that begins as godoc wants it.
func TestPackages_Documented(t *testing.T) {
	for _, p := range goList(t, "./...") {
		if len(p.GoFiles) == 0 {
			continue // a directory of tests only
		}
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "" // a command's comment describes the program
		}
		assert.NotEmptyf(t, p.Doc, "%s has no package comment", p.ImportPath)
		assert.Truef(t, strings.HasPrefix(p.Doc, want), "%s: the package comment begins with %q", p.ImportPath, p.Doc)
	}
}

// Ensure that only internal/clock reads a clock. Code that calls time.Now by itself takes no part in a
// clock jump that a test makes, and forgets time spent in suspend.
func TestClock_OneReader(t *testing.T) {
	reads := map[string]bool{"Now": true, "Since": true, "Until": true}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(filepath.ToSlash(path), root+"/")
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || rel == "internal/clock" || rel == "examples" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || !reads[sel.Sel.Name] {
				return true
			}
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == "time" {
				t.Errorf("%s: time.%s: read the clock through internal/clock", fset.Position(n.Pos()), sel.Sel.Name)
			}
			return true
		})
		return nil
	})
	require.NoError(t, err)
}

// Ensure that only files of tests move the clocks, in whatever module they are.
func TestClock_MovedByTestsOnly(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return nil // test data may be no Go at all
		}
		for _, imp := range file.Imports {
			if imp.Path.Value != strconv.Quote(module+"/internal/clock/clocktest") {
				continue
			}
			seen++
			assert.Truef(t, strings.HasSuffix(path, "_test.go"), "%s imports clocktest", path)
		}
		return nil
	})
	require.NoError(t, err)
	assert.Positive(t, seen, "nobody imports it: has it moved?")
}
