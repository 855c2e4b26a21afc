package lua

import (
	"fmt"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
)

// The parser is Lua 5.1's recursive descent, with its messages. Its product is gopher-lua's syntax tree,
// in which three things are not what the script says:
//
//   - a .. b .. c is a call of the hidden global nameConcat with the operands;
//   - a global that is assigned to is a field of the hidden read-only table nameGlobals;
//   - redis.call is the hidden global nameCall, or nameDo where its result is not used; and the key of
//     t[key] = v passes through nameKey unless it is a constant.
//
// Hidden names begin with a zero byte, so no script can say them.
const (
	nameGlobals = "\x00globals"
	nameConcat  = "\x00concat"
	nameKey     = "\x00key"
	nameCall    = "\x00call"
	nameDo      = "\x00do"
	nameUnused  = "\x00unused"
)

func hiddenName(k lua.LValue) bool {
	s, ok := k.(lua.LString)
	return ok && s != "" && s[0] == 0
}

// Lua 5.1's limits.
const (
	maxSyntaxLevels = 200
	maxLocals       = 200
	// Chains such as a.b.c and 1+2+3 nest in the tree without nesting in the text.
	maxChain = 10000
	// The code generator looks for each constant among those it has: time grows with the square.
	maxConstants = 8192
)

// A source is a parsed chunk.
type source struct {
	block   []ast.Stmt
	endless bool // it may run for long: there is a loop, a function, a way to load code, or much that is slow
	slow    int  // comparisons and uses of computed keys, which take long if the strings are long
	uses    []use
}

// A use is a place where a value is used in a way that can fail, for the message that says which value
// it was.
type use struct {
	line int
	op   byte   // one of the below
	key  string // opIndex with a constant key
	a, b string // what the operands are: "local 'x'", blameless, or nothing
}

// blameless is an operand that cannot be the reason of an error.
const blameless = "\x00"

const (
	opIndex  = 'i'
	opCall   = 'c'
	opArith  = 'a'
	opLen    = 'l'
	opConcat = 's'
)

// A parser turns tokens into a tree.
type parser struct {
	lexer
	tok, ahead token
	peeked     bool
	lastLine   int // of the token before tok
	levels     int
	fn         *function
	out        *source
	// parenthesized are the calls in parentheses: a .. (b .. c) is not a .. b .. c.
	parenthesized map[*ast.FuncCallExpr]bool
}

// A function is a function that is being parsed.
type function struct {
	parent *function
	locals []string
	loops  int
	vararg bool
	line   int
	consts map[string]struct{}
}

// parse reads a chunk.
func parse(code, chunk string) (src *source, err error) {
	p := &parser{lexer: lexer{src: code, line: 1, chunk: chunk}, out: &source{}}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(syntaxError)
			if !ok {
				panic(r)
			}
			src, err = nil, e
		}
	}()
	if len(code) > 0 && code[0] == 0x1b {
		return nil, syntaxError(chunk + ": bad header in precompiled chunk")
	}
	p.fn = &function{vararg: true}
	p.advance()
	p.out.block = p.block()
	p.check(tokEOF)
	return p.out, nil
}

func (p *parser) advance() {
	p.lastLine = p.tok.line
	switch p.tok.kind {
	case tokName, tokString, tokNumber:
		p.constant(p.tok.raw)
	}
	if p.peeked {
		p.tok, p.peeked = p.ahead, false
		return
	}
	p.tok = p.lexer.next()
}

func (p *parser) peekToken() int {
	if !p.peeked {
		p.ahead, p.peeked = p.lexer.next(), true
	}
	return p.ahead.kind
}

func (p *parser) error(msg string) { p.fail(p.line, msg, p.tok.raw) }

func (p *parser) expected(kind int) { p.error("'" + tokenName(kind) + "' expected") }

func (p *parser) check(kind int) {
	if p.tok.kind != kind {
		p.expected(kind)
	}
}

func (p *parser) accept(kind int) bool {
	if p.tok.kind != kind {
		return false
	}
	p.advance()
	return true
}

func (p *parser) expect(kind int) {
	p.check(kind)
	p.advance()
}

// expectMatch expects what closes what was opened at a line.
func (p *parser) expectMatch(what, who, line int) {
	if p.tok.kind == what {
		p.advance()
		return
	}
	if line == p.line {
		p.expected(what)
	}
	p.error(fmt.Sprintf("'%s' expected (to close '%s' at line %d)", tokenName(what), tokenName(who), line))
}

func (p *parser) name() string {
	p.check(tokName)
	s := p.tok.text
	p.advance()
	return s
}

func (p *parser) enter() {
	if p.levels++; p.levels > maxSyntaxLevels {
		p.fail(p.line, "chunk has too many syntax levels", "")
	}
}

func (p *parser) leave() { p.levels-- }

// constant notes that the function uses a constant; names of globals and of fields are some.
func (p *parser) constant(text string) {
	if p.fn.consts == nil {
		p.fn.consts = make(map[string]struct{})
	}
	if p.fn.consts[text] = struct{}{}; len(p.fn.consts) > maxConstants {
		p.fail(p.line, "constant table overflow", "")
	}
}

// Scopes.

func (p *parser) declare(name string) {
	if len(p.fn.locals) >= maxLocals {
		where := "main function"
		if p.fn.line > 0 {
			where = fmt.Sprintf("function at line %d", p.fn.line)
		}
		p.fail(p.line, fmt.Sprintf("%s has more than %d local variables", where, maxLocals), "")
	}
	p.fn.locals = append(p.fn.locals, name)
}

// scope says what a name refers to: "local", "upvalue" or "global".
func (p *parser) scope(name string) string {
	kind := "local"
	for f := p.fn; f != nil; f = f.parent {
		for _, l := range f.locals {
			if l == name {
				return kind
			}
		}
		kind = "upvalue"
	}
	return "global"
}

// Statements.

func (p *parser) blockEnds() bool {
	switch p.tok.kind {
	case tokElse, tokElseif, tokEnd, tokEOF, tokUntil:
		return true
	}
	return false
}

// block reads statements and forgets their locals.
func (p *parser) block() []ast.Stmt {
	n := len(p.fn.locals)
	stmts := p.statements()
	p.fn.locals = p.fn.locals[:n]
	return stmts
}

func (p *parser) statements() []ast.Stmt {
	p.enter()
	stmts := []ast.Stmt{}
	for last := false; !last && !p.blockEnds(); p.accept(';') {
		var s ast.Stmt
		s, last = p.statement()
		stmts = append(stmts, s)
	}
	p.leave()
	return stmts
}

// statement reads one; last is true if none may follow in its block.
func (p *parser) statement() (s ast.Stmt, last bool) {
	line := p.tok.line
	switch p.tok.kind {
	case tokIf:
		s = p.ifStatement()
	case tokWhile:
		s = p.whileStatement()
	case tokDo:
		p.advance()
		s = &ast.DoBlockStmt{Stmts: p.block()}
		p.expectMatch(tokEnd, tokDo, line)
	case tokFor:
		s = p.forStatement()
	case tokRepeat:
		s = p.repeatStatement()
	case tokFunction:
		s = p.functionStatement()
	case tokLocal:
		p.advance()
		if p.accept(tokFunction) {
			s = p.localFunction()
		} else {
			s = p.localStatement()
		}
	case tokReturn:
		s, last = p.returnStatement(), true
	case tokBreak:
		p.advance()
		if p.fn.loops == 0 {
			p.error("no loop to break")
		}
		s, last = &ast.BreakStmt{}, true
	default:
		s = p.expressionStatement()
	}
	s.SetLine(line)
	s.SetLastLine(p.lastLine)
	return s, last
}

func (p *parser) ifStatement() ast.Stmt {
	line := p.tok.line
	p.advance()
	first := &ast.IfStmt{Condition: p.expression()}
	p.expect(tokThen)
	first.Then = p.block()
	cur := first
	for n := 0; p.tok.kind == tokElseif; n++ {
		if n > maxChain {
			p.fail(p.line, "chunk has too many syntax levels", "")
		}
		elseif := &ast.IfStmt{}
		elseif.SetLine(p.tok.line)
		p.advance()
		elseif.Condition = p.expression()
		p.expect(tokThen)
		elseif.Then = p.block()
		elseif.SetLastLine(p.lastLine)
		cur.Else = []ast.Stmt{elseif}
		cur = elseif
	}
	if p.accept(tokElse) {
		cur.Else = p.block()
	}
	p.expectMatch(tokEnd, tokIf, line)
	return first
}

// loop reads a loop's body.
func (p *parser) loop(body func() []ast.Stmt) []ast.Stmt {
	p.out.endless = true
	p.fn.loops++
	stmts := body()
	p.fn.loops--
	return stmts
}

func (p *parser) whileStatement() ast.Stmt {
	line := p.tok.line
	p.advance()
	s := &ast.WhileStmt{Condition: p.expression()}
	p.expect(tokDo)
	s.Stmts = p.loop(p.block)
	p.expectMatch(tokEnd, tokWhile, line)
	return s
}

func (p *parser) repeatStatement() ast.Stmt {
	line := p.tok.line
	p.advance()
	n := len(p.fn.locals)
	s := &ast.RepeatStmt{Stmts: p.loop(p.statements)}
	p.expectMatch(tokUntil, tokRepeat, line)
	s.Condition = p.expression() // sees the body's locals
	p.fn.locals = p.fn.locals[:n]
	return s
}

func (p *parser) forStatement() ast.Stmt {
	line := p.tok.line
	p.advance()
	n := len(p.fn.locals)
	defer func() { p.fn.locals = p.fn.locals[:n] }()
	name := p.name()
	body := func() []ast.Stmt {
		p.expect(tokDo)
		stmts := p.loop(p.block)
		p.expectMatch(tokEnd, tokFor, line)
		return stmts
	}
	switch p.tok.kind {
	case '=':
		p.advance()
		s := &ast.NumberForStmt{Name: name, Init: p.single(p.expression())}
		p.expect(',')
		s.Limit = p.single(p.expression())
		if p.accept(',') {
			s.Step = p.single(p.expression())
		}
		for _, hidden := range []string{"(for index)", "(for limit)", "(for step)", name} {
			p.declare(hidden)
		}
		s.Stmts = body()
		return s
	case ',', tokIn:
		s := &ast.GenericForStmt{Names: []string{name}}
		for p.accept(',') {
			s.Names = append(s.Names, p.name())
		}
		p.expect(tokIn)
		s.Exprs = p.expressions()
		for _, hidden := range append([]string{"(for generator)", "(for state)", "(for control)"}, s.Names...) {
			p.declare(hidden)
		}
		s.Stmts = body()
		return s
	}
	p.error("'=' or 'in' expected")
	return nil
}

func (p *parser) functionStatement() ast.Stmt {
	line := p.tok.line
	p.advance()
	nameLine := p.tok.line
	first := p.name()
	var target ast.Expr = p.identifier(first, nameLine)
	desc := p.describe(target)
	if p.tok.kind != '.' && p.tok.kind != ':' {
		return &ast.FuncDefStmt{Name: &ast.FuncName{Func: p.assignable(target)}, Func: p.body(false, line)}
	}
	for p.tok.kind == '.' {
		p.advance()
		target = p.index(target, desc, p.stringKey())
		desc = p.describe(target)
	}
	if p.accept(':') {
		method := p.name()
		return &ast.FuncDefStmt{Name: &ast.FuncName{Receiver: target, Method: method}, Func: p.body(true, line)}
	}
	return &ast.FuncDefStmt{Name: &ast.FuncName{Func: target}, Func: p.body(false, line)}
}

func (p *parser) localFunction() ast.Stmt {
	line := p.lastLine
	name := p.name()
	p.declare(name)
	return &ast.LocalAssignStmt{Names: []string{name}, Exprs: []ast.Expr{p.body(false, line)}}
}

func (p *parser) localStatement() ast.Stmt {
	s := &ast.LocalAssignStmt{Exprs: []ast.Expr{}}
	for {
		s.Names = append(s.Names, p.name())
		if !p.accept(',') {
			break
		}
	}
	if p.accept('=') {
		s.Exprs = p.expressions()
	}
	if len(s.Names) == 1 && len(s.Exprs) == 1 {
		// The code generator takes a lone function for "local function", which sees its own name.
		if _, ok := s.Exprs[0].(*ast.FunctionExpr); ok {
			s.Names = append(s.Names, nameUnused)
		}
	}
	for _, name := range s.Names {
		p.declare(name)
	}
	return s
}

func (p *parser) returnStatement() ast.Stmt {
	p.advance()
	s := &ast.ReturnStmt{}
	if !p.blockEnds() && p.tok.kind != ';' {
		s.Exprs = p.expressions()
	}
	return s
}

func (p *parser) expressionStatement() ast.Stmt {
	first, _ := p.suffixed()
	if call, ok := first.(*ast.FuncCallExpr); ok && !call.AdjustRet {
		if id, ok := call.Func.(*ast.IdentExpr); ok && id.Value == nameCall {
			id.Value = nameDo
		}
		return &ast.FuncCallStmt{Expr: call}
	}
	targets := []ast.Expr{p.target(first)}
	for p.accept(',') {
		if len(targets) > maxSyntaxLevels {
			p.fail(p.line, "chunk has too many syntax levels", "")
		}
		next, _ := p.suffixed()
		targets = append(targets, p.target(next))
	}
	p.expect('=')
	s := &ast.AssignStmt{Lhs: targets, Rhs: p.expressions()}
	for _, t := range targets {
		t.SetLine(p.lastLine)
	}
	return s
}

// target turns an expression into something that can be assigned to.
func (p *parser) target(e ast.Expr) ast.Expr {
	switch e := e.(type) {
	case *ast.IdentExpr:
		if e.Value != nameCall {
			return p.assignable(e)
		}
		// redis.call = f
		t := &ast.AttrGetExpr{Object: p.identifier("redis", e.Line()), Key: stringExpr("call", e.Line())}
		t.SetLine(e.Line())
		return t
	case *ast.AttrGetExpr:
		switch e.Key.(type) {
		case *ast.StringExpr:
		default:
			e.Key = p.hiddenCall(nameKey, e.Key.Line(), p.single(e.Key))
		}
		return e
	}
	p.error("syntax error")
	return nil
}

// assignable replaces a global by a field of the read-only table.
func (p *parser) assignable(e ast.Expr) ast.Expr {
	id := e.(*ast.IdentExpr)
	if p.scope(id.Value) != "global" {
		return e
	}
	globals := &ast.IdentExpr{Value: nameGlobals}
	globals.SetLine(id.Line())
	t := &ast.AttrGetExpr{Object: globals, Key: stringExpr(id.Value, id.Line())}
	t.SetLine(id.Line())
	return t
}

func stringExpr(s string, line int) *ast.StringExpr {
	e := &ast.StringExpr{Value: s}
	e.SetLine(line)
	return e
}

func (p *parser) hiddenCall(name string, line int, args ...ast.Expr) ast.Expr {
	f := &ast.IdentExpr{Value: name}
	f.SetLine(line)
	call := &ast.FuncCallExpr{Func: f, Args: args, AdjustRet: true}
	call.SetLine(line)
	return call
}
