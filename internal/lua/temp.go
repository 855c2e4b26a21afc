package lua

import (
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	gparse "github.com/yuin/gopher-lua/parse"
)

const (
	nameGlobals = "\x00globals"
	nameConcat  = "\x00concat"
	nameKey     = "\x00key"
	nameCall    = "\x00call"
	nameDo      = "\x00do"
)

func hiddenName(k lua.LValue) bool {
	s, ok := k.(lua.LString)
	return ok && s != "" && s[0] == 0
}

type source struct {
	block   []ast.Stmt
	endless bool
}

func parse(code, chunk string) (*source, error) {
	b, err := gparse.Parse(strings.NewReader(code), chunk)
	if err != nil {
		return nil, err
	}
	return &source{b, true}, nil
}

func compileError(err error, _ string) error { return err }

func (in *Interp) translate(v lua.LValue) lua.LValue { return v }

func (in *Interp) openString() {
	in.state.Push(in.state.NewFunction(lua.OpenString))
	in.state.Call(0, 0)
	in.stringMeta = in.state.NewTable()
}
func (in *Interp) openTable() {
	in.state.Push(in.state.NewFunction(lua.OpenTable))
	in.state.Call(0, 0)
}
func (in *Interp) openMath() {
	in.state.Push(in.state.NewFunction(lua.OpenMath))
	in.state.Call(0, 0)
}
func (in *Interp) concat(l *lua.LState) int           { return 0 }
func (in *Interp) arrayKey(l *lua.LState) int         { return 1 }
func (in *Interp) chargeKey(l *lua.LState, f float64) {}

type rand48 struct{}

func (r *rand48) seed(int32) {}
