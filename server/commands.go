package server

import (
	"strings"

	"github.com/holdfast-dev/holdfast/internal/glob"
	"github.com/holdfast-dev/holdfast/internal/resp"
)

func commandCommands() []*command {
	const flags = flagLoading | flagStale
	order := []string{"nondeterministic_output_order"}
	return []*command{
		{name: "command", arity: -1, flags: flags, categories: catConnection, since: "2.8.13", tips: order, handler: commandCommand, subcommands: []*command{
			{name: "count", arity: 2, flags: flags, categories: catConnection, since: "2.8.13", handler: commandCountCommand},
			{name: "docs", arity: -2, flags: flags, categories: catConnection, since: "7.0.0", tips: order, handler: commandDocsCommand},
			{name: "getkeys", arity: -4, flags: flags, categories: catConnection, since: "2.8.13", handler: commandGetKeysCommand},
			{name: "help", arity: 2, flags: flags, categories: catConnection, since: "5.0.0", handler: commandHelpCommand},
			{name: "info", arity: -2, flags: flags, categories: catConnection, since: "2.8.13", tips: order, handler: commandInfoCommand},
			{name: "list", arity: -2, flags: flags, categories: catConnection, since: "7.0.0", tips: order, handler: commandListCommand},
		}},
	}
}

func commandCommand(c *Call) error {
	c.Out.Array(len(c.srv.table.rows))
	for _, cmd := range c.srv.table.rows {
		cmd.describe(c.Out)
	}
	return nil
}

func commandCountCommand(c *Call) error {
	c.Out.Int(int64(len(c.srv.table.rows)))
	return nil
}

func commandInfoCommand(c *Call) error {
	if len(c.Args) == 2 {
		return commandCommand(c)
	}
	c.Out.Array(len(c.Args) - 2)
	for _, name := range c.Args[2:] {
		if cmd := c.srv.table.findName(string(name)); cmd != nil {
			cmd.describe(c.Out)
		} else {
			c.Out.Null()
		}
	}
	return nil
}

// describe writes the row as COMMAND INFO shows it.
func (cmd *command) describe(w *resp.Writer) {
	w.Array(10)
	w.BulkString(cmd.fullName)
	w.Int(int64(cmd.arity))
	cmd.describeFlags(w)
	w.Int(int64(cmd.keys.first))
	w.Int(int64(cmd.keys.last))
	w.Int(int64(cmd.keys.step))
	cmd.describeCategories(w)
	w.Array(len(cmd.tips))
	for _, tip := range cmd.tips {
		w.BulkString(tip)
	}
	w.Set(0) // key specifications
	w.Array(len(cmd.subcommands))
	for _, sub := range cmd.subcommands {
		sub.describe(w)
	}
}

func (cmd *command) describeFlags(w *resp.Writer) {
	var names []string
	for _, f := range flagNames {
		if cmd.flags&f.flag != 0 {
			names = append(names, f.name)
		}
	}
	w.Set(len(names))
	for _, name := range names {
		w.Simple(name)
	}
}

func (cmd *command) describeCategories(w *resp.Writer) {
	var names []string
	for _, cat := range categoryNames {
		if cmd.categories&cat.category != 0 {
			names = append(names, cat.name)
		}
	}
	w.Set(len(names))
	for _, name := range names {
		w.Simple("@" + name)
	}
}

// commandDocsCommand has no documentation to offer: an empty map is what clients take for none.
func commandDocsCommand(c *Call) error {
	c.Out.Map(0)
	return nil
}

func commandListCommand(c *Call) error {
	keep := func(*command) bool { return true }
	switch args := c.Args[2:]; {
	case len(args) == 0:
	case len(args) == 3 && strings.EqualFold(string(args[0]), "filterby"):
		var err error
		if keep, err = parseListFilter(args[1], args[2]); err != nil {
			return err
		}
	default:
		return errSyntax
	}
	var names []string
	for _, cmd := range c.srv.table.rows {
		if keep(cmd) {
			names = append(names, cmd.fullName)
		}
		for _, sub := range cmd.subcommands {
			if keep(sub) {
				names = append(names, sub.fullName)
			}
		}
	}
	c.Out.Array(len(names))
	for _, name := range names {
		c.Out.BulkString(name)
	}
	return nil
}

func parseListFilter(kind, value []byte) (func(*command) bool, error) {
	switch strings.ToLower(string(kind)) {
	case "module":
		return func(*command) bool { return false }, nil // there are none
	case "pattern":
		pattern := string(value)
		return func(cmd *command) bool { return glob.MatchFold(pattern, cmd.fullName) }, nil
	case "aclcat":
		var wanted category
		for _, cat := range categoryNames {
			if strings.EqualFold(cat.name, string(value)) {
				wanted = cat.category
			}
		}
		return func(cmd *command) bool { return cmd.categories&wanted != 0 }, nil
	}
	return nil, errSyntax
}

func commandGetKeysCommand(c *Call) error {
	words := c.Args[2:]
	cmd := c.srv.table.find(words)
	switch {
	case cmd == nil || cmd.handler == nil:
		return errInvalidCommand
	case cmd.keys.first == 0 && cmd.findKeys == nil:
		return errNoKeyArguments
	case !cmd.arityOK(len(words)):
		return errInvalidArity
	}
	at, err := cmd.keyPositions(words)
	if err != nil {
		at = nil
	}
	if len(at) == 0 && cmd.flags&flagNoMandatoryKeys == 0 {
		return errInvalidArguments
	}
	c.Out.Array(len(at))
	for _, i := range at {
		c.Out.Bulk(words[i])
	}
	return nil
}

func commandHelpCommand(c *Call) error {
	return c.help("COMMAND",
		"(no subcommand)", "All commands, each as INFO shows it.",
		"COUNT", "How many commands there are.",
		"DOCS [<command-name> ...]", "Accepted; there is no documentation in the node.",
		"GETKEYS <full-command>", "The keys among the words of a command.",
		"INFO [<command-name> ...]", "Arity, flags, key positions and categories of these commands, or of all.",
		"LIST [FILTERBY (MODULE|ACLCAT|PATTERN) <value>]", "The names of all commands, or of some.",
	)
}
