package lua

import (
	lua "github.com/yuin/gopher-lua"
)

// openCoroutine makes the table coroutine. Resuming nests functions of Go, so its depth is bounded; the
// virtual machine cannot suspend a function of Go, so yielding below one is refused, as in Lua 5.1.
func (in *Interp) openCoroutine() {
	in.library("coroutine", map[string]lua.LGFunction{
		"create":  in.coCreate,
		"resume":  in.coResume,
		"running": in.coRunning,
		"status":  in.coStatus,
		"wrap":    in.coWrap,
		"yield":   in.coYield,
	}, nil)
}

// coroutineCost is about what the stacks of a new coroutine take.
const coroutineCost = callDepth*96 + stackSlots*16

func (in *Interp) newCoroutine(l *lua.LState, fn string) (*lua.LState, *lua.LFunction) {
	f, ok := l.Get(1).(*lua.LFunction)
	if !ok || f.IsG {
		argError(l, 1, fn, "Lua function expected")
	}
	in.meter.reserve(l, coroutineCost)
	th, cancel := l.NewThread()
	if cancel != nil {
		cancel() // its context is not the meter, which it is to be
	}
	th.SetContext(&in.meter)
	return th, f
}

// coCreate notes the function in starts until the first resume, which is when the state takes it.
func (in *Interp) coCreate(l *lua.LState) int {
	th, f := in.newCoroutine(l, "create")
	in.starts[th] = f
	l.Push(th)
	return 1
}

func (in *Interp) coWrap(l *lua.LState) int {
	th, f := in.newCoroutine(l, "wrap")
	in.starts[th] = f
	l.Push(l.NewFunction(func(l *lua.LState) int {
		values, err := in.resume(l, th, 1)
		if err != nil {
			v := in.errorValue(err)
			if lua.LVCanConvToString(v) {
				v = lua.LString(position(l, 1) + text(v))
			}
			l.Error(v, 0)
		}
		for _, v := range values {
			l.Push(v)
		}
		return len(values)
	}))
	return 1
}

func (in *Interp) coResume(l *lua.LState) int {
	th, ok := l.Get(1).(*lua.LState)
	if !ok {
		argError(l, 1, "resume", "coroutine expected")
	}
	values, err := in.resume(l, th, 2)
	if err != nil {
		l.Push(lua.LFalse)
		l.Push(in.errorValue(err))
		return 2
	}
	l.Push(lua.LTrue)
	for _, v := range values {
		l.Push(v)
	}
	return 1 + len(values)
}

// resume continues th with the arguments from the first-th on.
func (in *Interp) resume(l *lua.LState, th *lua.LState, first int) ([]lua.LValue, error) {
	if status := in.status(l, th); status != "suspended" {
		return nil, &lua.ApiError{Object: lua.LString("cannot resume " + map[bool]string{true: "dead", false: "non-suspended"}[status == "dead"] + " coroutine")}
	}
	if in.depth >= coroutinesDepth {
		return nil, &lua.ApiError{Object: lua.LString("C stack overflow")}
	}
	var args []lua.LValue
	for i := first; i <= l.GetTop(); i++ {
		args = append(args, l.Get(i))
	}
	nested := in.nested
	in.depth, in.nested = in.depth+1, 0
	defer func() { in.depth, in.nested = in.depth-1, nested }()
	f := in.starts[th]
	delete(in.starts, th)
	state, err, values := l.Resume(th, f, args...)
	if err != nil {
		th.Dead = true
		return nil, err
	}
	if len(values) == 1 && values[0] == lua.LNil {
		values = nil // what Resume makes of no value at all
	}
	if state == lua.ResumeOK {
		th.Dead = true
	}
	return values, nil
}

func (in *Interp) status(l, th *lua.LState) string {
	switch {
	case th.Dead:
		return "dead"
	case l == th:
		return "running"
	case in.starts[th] == nil && l.Status(th) != "suspended":
		return "normal"
	}
	for p := l.Parent; p != nil; p = p.Parent {
		if p == th {
			return "normal"
		}
	}
	return "suspended"
}

func (in *Interp) coStatus(l *lua.LState) int {
	th, ok := l.Get(1).(*lua.LState)
	if !ok {
		argError(l, 1, "status", "coroutine expected")
	}
	l.Push(lua.LString(in.status(l, th)))
	return 1
}

func (in *Interp) coRunning(l *lua.LState) int {
	if l == in.state {
		l.Push(lua.LNil)
	} else {
		l.Push(l)
	}
	return 1
}

func (in *Interp) coYield(l *lua.LState) int {
	if l == in.state || in.nested > 0 {
		l.Error(lua.LString("attempt to yield across metamethod/C-call boundary"), 0)
	}
	return -1
}
