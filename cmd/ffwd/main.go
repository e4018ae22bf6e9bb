package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ffwd/conf"
	"ffwd/control"
)

// Exit codes, as documented above.
const (
	exitOK = iota
	exitFault
	exitUsage
	exitLeak
)

// usageError is an error in how we were called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() {
	err := root().Execute()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(exitCode(err))
}

// exitCode tells what to exit with after an error.
func exitCode(err error) int {
	var usage usageError
	var faults conf.Faults
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage), errors.As(err, &faults):
		return exitUsage
	case errors.Is(err, control.ErrLeak), errors.Is(err, control.ErrConservation):
		return exitLeak
	}
	return exitFault
}

func root() *cobra.Command {
	c := groupCommand("ffwd", "A poll-mode userspace switch")
	c.SilenceErrors, c.SilenceUsage = true, true
	c.Version = versions()
	c.SetVersionTemplate("{{.Version}}")
	c.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w: see '%s --help'", err, c.CommandPath())}
	})
	c.AddCommand(runCommand(), checkCommand(), showCommand(), ctCommand(), timeoutCommand(), reloadCommand(), queueCommand(),
		benchCommand(), captureCommand(), versionCommand())
	c.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-")) // some are named after words of the API
	})
	completeFiles(c)
	return c
}

// completeFiles lets a shell complete files where a flag wants one, and nowhere else.
func completeFiles(c *cobra.Command) {
	files := cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	for _, name := range []string{"config", "socket", "queue-socket", "out", "dir", "peer-source"} {
		if c.Flags().Lookup(name) != nil {
			if err := c.RegisterFlagCompletionFunc(name, files); err != nil {
				panic(err)
			}
		}
	}
	for _, sub := range c.Commands() {
		completeFiles(sub)
	}
}

// groupCommand is a command that only has others, which the caller adds.
func groupCommand(use, short string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q: see '%s --help'", args[0], c.CommandPath())}
			}
			return c.Help()
		},
	}
}

// noArgs refuses arguments that are no flags.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q: see '%s --help'", args[0], c.CommandPath())}
	}
	return nil
}

// configFlag adds -c, the configuration file.
func configFlag(c *cobra.Command, path *string) {
	c.Flags().StringVarP(path, "config", "c", "", "configuration file")
}

// loadConfig reads the file of -c, which must be given. Every error is the user's.
func loadConfig(path string) (*conf.Config, error) {
	if path == "" {
		return nil, usageError{errors.New("no configuration given: name a file with -c")}
	}
	c, err := conf.Load(path)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}
