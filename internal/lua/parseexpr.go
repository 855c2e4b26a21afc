package lua

import (
	"strconv"

	"github.com/yuin/gopher-lua/ast"
)

// This file is the half of the parser that reads expressions and functions.

func (p *parser) expressions() []ast.Expr {
	list := []ast.Expr{p.expression()}
	for p.accept(',') {
		list = append(list, p.expression())
	}
	return list
}

func (p *parser) expression() ast.Expr { return p.binary(0) }

// priority gives the left and right binding power of binary operators.
var priority = map[int][2]int{
	'+': {6, 6}, '-': {6, 6}, '*': {7, 7}, '/': {7, 7}, '%': {7, 7},
	'^': {10, 9}, tokConcat: {5, 4},
	tokNE: {3, 3}, tokEq: {3, 3}, '<': {3, 3}, tokLE: {3, 3}, '>': {3, 3}, tokGE: {3, 3},
	tokAnd: {2, 2}, tokOr: {1, 1},
}

const unaryPriority = 8

// binary reads operators that bind tighter than limit.
func (p *parser) binary(limit int) ast.Expr {
	p.enter()
	e := p.unary()
	for n := 0; ; n++ {
		op := p.tok.kind
		pr, ok := priority[op]
		if !ok || pr[0] <= limit {
			break
		}
		if n > maxChain {
			p.fail(p.line, "chunk has too many syntax levels", "")
		}
		p.advance()
		e = p.combine(op, e, p.binary(pr[1]))
	}
	p.leave()
	return e
}

func (p *parser) unary() ast.Expr {
	op := p.tok.kind
	if op != tokNot && op != '-' && op != '#' {
		return p.simple()
	}
	p.advance()
	operand := p.single(p.binary(unaryPriority))
	var e ast.Expr
	switch op {
	case tokNot:
		e = &ast.UnaryNotOpExpr{Expr: operand}
	case '-':
		e = &ast.UnaryMinusOpExpr{Expr: operand}
		p.note(use{line: p.lastLine, op: opArith, a: p.describe(operand), b: p.describe(operand)})
	default:
		e = &ast.UnaryLenOpExpr{Expr: operand}
		p.note(use{line: p.lastLine, op: opLen, a: p.describe(operand)})
	}
	e.SetLine(p.lastLine)
	return e
}

func (p *parser) combine(op int, a, b ast.Expr) ast.Expr {
	a, b = p.single(a), p.single(b)
	var e ast.Expr
	switch op {
	case tokConcat:
		return p.concat(a, b)
	case tokAnd, tokOr:
		e = &ast.LogicalOpExpr{Operator: tokenName(op), Lhs: a, Rhs: b}
	case tokEq, tokNE, tokLE, tokGE, '<', '>':
		p.slow()
		e = &ast.RelationalOpExpr{Operator: tokenName(op), Lhs: a, Rhs: b}
	default:
		e = &ast.ArithmeticOpExpr{Operator: tokenName(op), Lhs: a, Rhs: b}
		p.note(use{line: p.lastLine, op: opArith, a: p.describe(a), b: p.describe(b)})
	}
	e.SetLine(p.lastLine)
	return e
}

// concat makes one call of a whole chain, whose right end b may be such a call already.
func (p *parser) concat(a, b ast.Expr) ast.Expr {
	p.note(use{line: p.lastLine, op: opConcat, a: p.describe(a), b: p.describe(b)})
	if call, ok := b.(*ast.FuncCallExpr); ok && !p.parenthesized[call] {
		if id, ok := call.Func.(*ast.IdentExpr); ok && id.Value == nameConcat {
			call.Args = append([]ast.Expr{a}, call.Args...)
			return call
		}
	}
	return p.hiddenCall(nameConcat, p.lastLine, a, b)
}

// single makes a call or ... stand for one value.
func (p *parser) single(e ast.Expr) ast.Expr {
	switch e := e.(type) {
	case *ast.FuncCallExpr:
		e.AdjustRet = true
	case *ast.Comma3Expr:
		e.AdjustRet = true
	}
	return e
}

func (p *parser) simple() ast.Expr {
	var e ast.Expr
	line := p.tok.line
	switch p.tok.kind {
	case tokNumber:
		e = &ast.NumberExpr{Value: strconv.FormatFloat(p.tok.num, 'g', -1, 64)}
	case tokString:
		e = stringExpr(p.tok.text, line)
	case tokNil:
		e = &ast.NilExpr{}
	case tokTrue:
		e = &ast.TrueExpr{}
	case tokFalse:
		e = &ast.FalseExpr{}
	case tokDots:
		if !p.fn.vararg {
			p.error("cannot use '...' outside a vararg function")
		}
		e = &ast.Comma3Expr{}
	case '{':
		return p.table()
	case tokFunction:
		p.advance()
		return p.body(false, line)
	default:
		e, _ = p.suffixed()
		return e
	}
	p.advance()
	e.SetLine(line)
	return e
}

func (p *parser) table() ast.Expr {
	line := p.tok.line
	p.advance()
	t := &ast.TableExpr{Fields: []*ast.Field{}}
	t.SetLine(line)
	for p.tok.kind != '}' {
		f := &ast.Field{}
		switch {
		case p.tok.kind == tokName && p.peekToken() == '=':
			f.Key = stringExpr(p.tok.text, p.tok.line)
			p.advance()
			p.advance()
			f.Value = p.single(p.expression())
		case p.tok.kind == '[':
			p.advance()
			f.Key = p.single(p.expression())
			if _, constant := f.Key.(*ast.StringExpr); !constant {
				p.slow()
				f.Key = p.hiddenCall(nameKey, f.Key.Line(), f.Key)
			}
			p.expect(']')
			p.expect('=')
			f.Value = p.single(p.expression())
		default:
			f.Value = p.expression()
		}
		t.Fields = append(t.Fields, f)
		if !p.accept(',') && !p.accept(';') {
			break
		}
	}
	p.expectMatch('}', '{', line)
	// Only the last field takes all values of a call.
	for i, f := range t.Fields {
		if i < len(t.Fields)-1 {
			p.single(f.Value)
		}
	}
	return t
}

// body reads a function from its parameters on.
func (p *parser) body(method bool, line int) *ast.FunctionExpr {
	p.out.endless = true
	p.fn = &function{parent: p.fn, line: line}
	f := &ast.FunctionExpr{ParList: &ast.ParList{Names: []string{}}}
	if method {
		p.declare("self")
	}
	p.expect('(')
	for p.tok.kind != ')' {
		if p.tok.kind == tokDots {
			p.advance()
			f.ParList.HasVargs, p.fn.vararg = true, true
			break
		}
		if p.tok.kind != tokName {
			p.error("<name> or '...' expected")
		}
		name := p.name()
		f.ParList.Names = append(f.ParList.Names, name)
		p.declare(name)
		if !p.accept(',') {
			break
		}
		if p.tok.kind == ')' {
			p.error("<name> or '...' expected")
		}
	}
	if p.fn.vararg {
		p.declare("arg")
	}
	p.expect(')')
	f.Stmts = p.block()
	f.SetLine(line)
	f.SetLastLine(p.tok.line)
	p.expectMatch(tokEnd, tokFunction, line)
	p.fn = p.fn.parent
	return f
}

// primary reads a name or something in parentheses.
func (p *parser) primary() ast.Expr {
	line := p.tok.line
	switch p.tok.kind {
	case '(':
		p.advance()
		e := p.single(p.expression())
		p.expectMatch(')', '(', line)
		if call, ok := e.(*ast.FuncCallExpr); ok {
			if p.parenthesized == nil {
				p.parenthesized = make(map[*ast.FuncCallExpr]bool)
			}
			p.parenthesized[call] = true
		}
		return e
	case tokName:
		return p.identifier(p.name(), line)
	}
	p.error("unexpected symbol")
	return nil
}

// identifier returns the expression for a name.
func (p *parser) identifier(name string, line int) ast.Expr {
	if p.scope(name) == "global" {
		switch name {
		case "load", "loadstring", "_G":
			p.out.endless = true // code can come from a string
		}
	}
	e := &ast.IdentExpr{Value: name}
	e.SetLine(line)
	return e
}

// suffixed reads a primary expression with all its indexes and calls.
func (p *parser) suffixed() (ast.Expr, string) {
	e := p.primary()
	desc := p.describe(e)
	for n := 0; ; n++ {
		if n > maxChain {
			p.fail(p.line, "chunk has too many syntax levels", "")
		}
		switch p.tok.kind {
		case '.':
			p.advance()
			e = p.redisCall(p.index(e, desc, p.stringKey()))
			desc = p.describe(e)
		case '[':
			p.advance()
			key := p.single(p.expression())
			p.expect(']')
			e = p.index(e, desc, key)
			desc = p.describe(e)
		case ':':
			p.advance()
			method := p.name()
			p.note(use{line: p.line, op: opIndex, key: method, a: desc})
			e = p.call(&ast.FuncCallExpr{Receiver: e, Method: method}, "method '"+method+"'")
			desc = ""
		case '(', tokString, '{':
			e = p.call(&ast.FuncCallExpr{Func: e}, desc)
			desc = ""
		default:
			return e, desc
		}
	}
}

func (p *parser) stringKey() ast.Expr {
	line := p.tok.line
	return stringExpr(p.name(), line)
}

func (p *parser) index(object ast.Expr, desc string, key ast.Expr) ast.Expr {
	p.single(object)
	e := &ast.AttrGetExpr{Object: object, Key: key}
	e.SetLine(p.lastLine)
	u := use{line: p.lastLine, op: opIndex, a: desc}
	switch key := key.(type) {
	case *ast.StringExpr:
		u.key = key.Value
	case *ast.NumberExpr:
	default:
		p.slow()
	}
	p.note(u)
	return e
}

// redisCall replaces redis.call, which cannot be anything else since scripts cannot change redis.
func (p *parser) redisCall(e ast.Expr) ast.Expr {
	get := e.(*ast.AttrGetExpr)
	id, ok := get.Object.(*ast.IdentExpr)
	if !ok || id.Value != "redis" || get.Key.(*ast.StringExpr).Value != "call" || p.scope("redis") != "global" {
		return e
	}
	call := &ast.IdentExpr{Value: nameCall}
	call.SetLine(get.Line())
	return call
}

func (p *parser) call(c *ast.FuncCallExpr, desc string) ast.Expr {
	line := p.tok.line
	c.Args = []ast.Expr{}
	switch p.tok.kind {
	case '(':
		if line != p.lastLine {
			p.error("ambiguous syntax (function call x new statement)")
		}
		p.advance()
		if p.tok.kind != ')' {
			c.Args = p.expressions()
		}
		p.expectMatch(')', '(', line)
	case '{':
		c.Args = append(c.Args, p.table())
	case tokString:
		c.Args = append(c.Args, stringExpr(p.tok.text, line))
		p.advance()
	default:
		p.error("function arguments expected")
	}
	for i, a := range c.Args {
		if i < len(c.Args)-1 {
			p.single(a)
		}
	}
	c.SetLine(line)
	p.note(use{line: line, op: opCall, a: desc})
	return c
}

// describe says what an expression is, as messages name it.
func (p *parser) describe(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.IdentExpr:
		if e.Value == nameCall {
			return "field 'call'"
		}
		return p.scope(e.Value) + " '" + e.Value + "'"
	case *ast.AttrGetExpr:
		if s, ok := e.Key.(*ast.StringExpr); ok {
			return "field '" + s.Value + "'"
		}
		return "field '?'"
	case *ast.StringExpr, *ast.NumberExpr:
		return blameless
	case *ast.FuncCallExpr:
		if id, ok := e.Func.(*ast.IdentExpr); ok && id.Value == nameConcat {
			return blameless
		}
	}
	return ""
}

// maxSlow is how many slow instructions a script may have that is not metered.
const maxSlow = 8

// slow notes an instruction that takes as long as a string of the script.
func (p *parser) slow() {
	if p.out.slow++; p.out.slow > maxSlow {
		p.out.endless = true
	}
}

func (p *parser) note(u use) { p.out.uses = append(p.out.uses, u) }
