package lua

import (
	"math"

	lua "github.com/yuin/gopher-lua"
)

func (in *Interp) openMath() {
	funcs := map[string]lua.LGFunction{
		"random":     in.random,
		"randomseed": in.randomSeed,
		"max":        func(l *lua.LState) int { return extreme(l, "max", func(a, b float64) bool { return a > b }) },
		"min":        func(l *lua.LState) int { return extreme(l, "min", func(a, b float64) bool { return a < b }) },
		"modf":       modf,
		"frexp":      frexp,
		"ldexp": func(l *lua.LState) int {
			return push(l, math.Ldexp(checkNumber(l, 1, "ldexp"), checkInt(l, 2, "ldexp")))
		},
	}
	for name, f := range map[string]func(float64) float64{
		"abs": math.Abs, "acos": math.Acos, "asin": math.Asin, "atan": math.Atan, "ceil": math.Ceil, "cos": math.Cos,
		"cosh": math.Cosh, "exp": math.Exp, "floor": math.Floor, "log": math.Log, "log10": math.Log10, "sin": math.Sin,
		"sinh": math.Sinh, "sqrt": math.Sqrt, "tan": math.Tan, "tanh": math.Tanh,
		"deg": func(f float64) float64 { return f / (math.Pi / 180) },
		"rad": func(f float64) float64 { return f * (math.Pi / 180) },
	} {
		funcs[name] = func(l *lua.LState) int {
			x := checkNumber(l, 1, name)
			y := f(x)
			switch {
			case !math.IsNaN(y) || name == "abs":
			case math.IsNaN(x):
				y = x
			case name != "acos" && name != "asin" && name != "log10":
				y = invalid()
			}
			return push(l, y)
		}
	}
	for name, f := range map[string]func(a, b float64) float64{
		"atan2": math.Atan2, "fmod": math.Mod, "mod": math.Mod, "pow": math.Pow,
	} {
		funcs[name] = func(l *lua.LState) int {
			a, b := checkNumber(l, 1, name), checkNumber(l, 2, name)
			r := f(a, b)
			if name == "atan2" {
				a, b = b, a
			}
			switch {
			case !math.IsNaN(r):
			case math.IsNaN(a):
				r = a
			case math.IsNaN(b):
				r = b
			default:
				r = invalid()
			}
			return push(l, r)
		}
	}
	in.library("math", funcs, map[string]lua.LValue{"pi": lua.LNumber(math.Pi), "huge": lua.LNumber(math.Inf(1))})
}

var zero float64

// invalid returns the NaN of an invalid operation of this machine. Its sign shows when it is printed, and
// Go's mathematical functions neither give it nor pass on that of an argument, as C's do; three of C's
// do not give it either.
func invalid() float64 { return zero / zero }

func push(l *lua.LState, f float64) int {
	l.Push(lua.LNumber(f))
	return 1
}

func extreme(l *lua.LState, fn string, better func(a, b float64) bool) int {
	best := checkNumber(l, 1, fn)
	for i := 2; i <= l.GetTop(); i++ {
		if f := checkNumber(l, i, fn); better(f, best) {
			best = f
		}
	}
	return push(l, best)
}

func modf(l *lua.LState) int {
	f := checkNumber(l, 1, "modf")
	whole, part := math.Trunc(f), 0.0
	if !math.IsInf(f, 0) {
		part = f - whole
	}
	return push(l, whole) + push(l, math.Copysign(part, f))
}

func frexp(l *lua.LState) int {
	frac, exp := math.Frexp(checkNumber(l, 1, "frexp"))
	return push(l, frac) + push(l, float64(exp))
}

// A rand48 is the 48-bit linear congruential generator of POSIX, with which Redis makes math.random give
// the same numbers on every machine.
type rand48 struct{ x uint64 }

// firstRandom is the generator's state before any seed.
const firstRandom = 0x1234abcd330e

func (r *rand48) seed(seed int32) { r.x = uint64(uint32(seed))<<16 | 0x330e }

// next returns a number of 31 bits.
func (r *rand48) next() int32 {
	r.x = (r.x*0x5deece66d + 0xb) & (1<<48 - 1)
	return int32(r.x >> 17)
}

func (in *Interp) random(l *lua.LState) int {
	r := float64(in.rand.next()%math.MaxInt32) / math.MaxInt32
	switch l.GetTop() {
	case 0:
		return push(l, r)
	case 1:
		high := checkInt(l, 1, "random")
		if high < 1 {
			argError(l, 1, "random", "interval is empty")
		}
		return push(l, math.Floor(r*float64(high))+1)
	case 2:
		low, high := checkInt(l, 1, "random"), checkInt(l, 2, "random")
		if low > high {
			argError(l, 2, "random", "interval is empty")
		}
		return push(l, math.Floor(r*float64(high-low+1))+float64(low))
	}
	raise(l, "wrong number of arguments")
	return 0
}

func (in *Interp) randomSeed(l *lua.LState) int {
	in.rand.seed(int32(checkInt(l, 1, "randomseed")))
	return 0
}
