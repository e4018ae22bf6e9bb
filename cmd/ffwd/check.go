package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"ffwd/pmd"
)

func checkCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "check -c FILE",
		Short: "Validate a configuration and print it with every default filled in",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := loadConfig(path)
			if err != nil {
				return err
			}
			_, err = c.OutOrStdout().Write(config.TOML())
			return err
		},
	}
	configFlag(c, &path)
	return c
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of ffwd, Go and DPDK",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := io.WriteString(c.OutOrStdout(), versions())
			return err
		},
	}
}

// versions is what `ffwd version` and --version print.
func versions() string {
	return fmt.Sprintf("ffwd %s\n%s %s/%s\n%s\n", moduleVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH, pmd.Version())
}

// version is what the Makefile tells the linker.
var version string

// moduleVersion is the Makefile's version, the commit of a build from a checkout, or
// the module's version.
func moduleVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value
		}
	}
	return info.Main.Version
}
