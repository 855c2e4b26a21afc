// Package lua runs scripts as Redis 7.0 runs them: EVAL's language, its sandbox, its conversions between
// Lua values and replies, and its error texts, on the Lua 5.1 virtual machine of gopher-lua.
//
// There are only a few types. An [Interp] is one reused, sandboxed Lua state with its cache of compiled
// scripts; a node has one, and it runs one script at a time. A [Script] is a compiled body. A [Host] is what
// a script can reach of the world: commands and a log.
//
// The virtual machine is taken as it is, but nothing of its compiler's front end and of its libraries is
// used where they differ from the reference implementation:
//
//   - lex.go, parse.go and parseexpr.go read Lua 5.1 with its own error messages and nesting limits, and hand a syntax
//     tree to gopher-lua's code generator. While parsing they turn a .. b into a call (numbers become
//     strings with %.14g, and a string's size is bounded before it exists), assignments to globals into an
//     error, and note whether the script has any loop or function at all, or much that can be slow without.
//   - baselib.go, stringlib.go, tablelib.go, mathlib.go and corolib.go are the libraries, with the bounds that
//     a server needs; pattern.go matches Lua patterns with a budget, format.go is string.format of C.
//   - redislib.go is the table redis; reply.go converts values.
//   - meter.go stops what runs too long or eats too much. errors.go words errors as Lua 5.1 does.
//
// What still differs from Redis 7.0.15: cjson, cmsgpack, struct and bit are not there yet; __len is obeyed
// for tables; string.dump has no bytecode to give; an error about calling or measuring a value takes it for
// nil, and names it only if its line leaves no doubt; next takes any key; 0 and -0 are two constants; pairs
// goes by the order in which fields were added; error({}) is an error reply, where Redis ends; a NaN of a % b or
// a ^ b is printed without its sign, and 5 % math.huge is 5; a text of more than 16 KB is no number.
//
// A script with strings of hundreds of megabytes can hold up the node for some hundred milliseconds at a time:
// what the virtual machine does with two strings in one instruction (s < r, s == r, t[s], s + 1) and the making
// of one string are not interrupted, only followed by a look.
//
// Limits, all of them errors that the script's caller sees and none of them the end of the process: the
// time a script may run once its host gives up on it, the memory that it may allocate, the depth of calls,
// of coroutines, of syntax and of returned tables, the size of a string and of a script.
package lua
