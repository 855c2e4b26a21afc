package server

import "fmt"

// A wireError is an error as a client reads it: a code in capital letters, a space, a sentence. The
// texts are byte for byte those of Redis 7.0, because programs compare them.
type wireError string

func (e wireError) Error() string { return string(e) }

// Errors that more than one command answers. Texts with a parameter are made by the functions below.
const (
	errSyntax           = wireError("ERR syntax error")
	errWrongType        = wireError("WRONGTYPE Operation against a key holding the wrong kind of value")
	errNotInteger       = wireError("ERR value is not an integer or out of range")
	errNotFloat         = wireError("ERR value is not a valid float")
	errNoSuchKey        = wireError("ERR no such key")
	errSameObject       = wireError("ERR source and destination objects are the same")
	errOutOfRange       = wireError("ERR index out of range")
	errDBIndex          = wireError("ERR DB index is out of range")
	errInvalidDB        = wireError("ERR invalid DB index")
	errOverflow         = wireError("ERR increment or decrement would overflow")
	errNaNOrInfinity    = wireError("ERR increment would produce NaN or Infinity")
	errStringTooLong    = wireError("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
	errNotPositive      = wireError("ERR value is out of range, must be positive")
	errNoAuth           = wireError("NOAUTH Authentication required.")
	errWrongPass        = wireError("WRONGPASS invalid username-password pair or user is disabled.")
	errExecAbort        = wireError("EXECABORT Transaction discarded because of previous errors.")
	errNotInMulti       = wireError("ERR Command not allowed inside a transaction")
	errAuthNotNeeded    = wireError("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
	errHelloVersion     = wireError("ERR Protocol version is not an integer or out of range")
	errNoProto          = wireError("NOPROTO unsupported protocol version")
	errHelloNoAuth      = wireError("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time")
	errClientName       = wireError("ERR Client names cannot contain spaces, newlines or special characters.")
	errClientID         = wireError("ERR Invalid client ID")
	errClientKillID     = wireError("ERR client-id should be greater than 0")
	errNoSuchClient     = wireError("ERR No such client")
	errInvalidCommand   = wireError("ERR Invalid command specified")
	errNoKeyArguments   = wireError("ERR The command has no key arguments")
	errInvalidArguments = wireError("ERR Invalid arguments specified for command")
	errInvalidArity     = wireError("ERR Invalid number of arguments specified for command")
	errMaxClients       = wireError("ERR max number of clients reached")
	errProtected        = wireError("DENIED This node is in protected mode and has no password, so it serves only connections from its own machine. Give it one with requirepass, or set protected-mode no.")

	errNestedMulti         = wireError("ERR MULTI calls can not be nested")
	errWatchInsideMulti    = wireError("ERR WATCH inside MULTI is not allowed")
	errExecWithoutMulti    = wireError("ERR EXEC without MULTI")
	errDiscardWithoutMulti = wireError("ERR DISCARD without MULTI")
)

// Errors of single commands on keys and strings.
const (
	errDecrementOverflow = wireError("ERR decrement would overflow")
	errNotInteger32      = wireError("ERR value is out of range, value must between -2147483648 and 2147483647")
	errOffset            = wireError("ERR offset is out of range")
	errCursor            = wireError("ERR invalid cursor")
	errFirstDB           = wireError("ERR invalid first DB index")
	errSecondDB          = wireError("ERR invalid second DB index")
	errExpireNX          = wireError("ERR NX and XX, GT or LT options at the same time are not compatible")
	errExpireGTLT        = wireError("ERR GT and LT options at the same time are not compatible")
	errDelexType         = wireError("ERR Key should be of string type if conditions are specified")
	errNoFrequency       = wireError("ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.")
)

// errorf formats an error reply; the format starts with the error's code.
func errorf(format string, args ...any) error { return wireError(fmt.Sprintf(format, args...)) }

// errArity is the answer to a wrong number of arguments; name is the command's full name ("get",
// "client|list").
func errArity(name string) error {
	return wireError("ERR wrong number of arguments for '" + name + "' command")
}

// errExpireTime is the answer to a ttl that is not positive or overflows.
func errExpireTime(name string) error {
	return wireError("ERR invalid expire time in '" + name + "' command")
}

// errUnknownSubcommand is the answer of commands that look at their own subcommands' words.
func errUnknownSubcommand(command string, word []byte) error {
	return errorf("ERR unknown subcommand or wrong number of arguments for '%s'. Try %s HELP.", cString(word, 128), command)
}

// Reasons why CONFIG SET refuses a value; it puts its own words before them.
const (
	errConfigImmutable  = wireError("can't set immutable config")
	errConfigConstant   = wireError("this node has no other value for it")
	errConfigTwice      = wireError("duplicate parameter")
	errConfigNotInteger = wireError("argument couldn't be parsed into an integer")
	errNotMemory        = wireError("argument must be a memory value")
	errNotYesNo         = wireError("argument must be 'yes' or 'no'")
	errOutputLimitWords = wireError("Wrong number of arguments in buffer limit configuration.")
	errOutputLimitClass = wireError("Invalid client class specified in buffer limit configuration.")
	errOutputLimitValue = wireError("Error in hard, soft or soft_seconds setting in buffer limit configuration.")
)
