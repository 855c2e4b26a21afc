package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCommand struct {
	JSON bool `name:"json" help:"Print a JSON object."`
}

// A versionInfo is what --json shows.
type versionInfo struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func (cmd *versionCommand) Run() error {
	if cmd.JSON {
		return printJSON(versionInfo{version(), runtime.Version(), runtime.GOOS, runtime.GOARCH})
	}
	fmt.Printf("holdfast %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// version is the module's version where the binary was installed by version, and the commit elsewhere.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
