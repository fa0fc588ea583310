// Package app makes a process out of the rooms: it is the one place that knows every one of them.
//
//	arguments ──▶ command ──▶ configuration ──▶ parts (table of names and constructors)
//	                                              └──▶ pipeline, web server, reports
//
// The process is a value: Main takes its arguments and streams and returns its exit code, so tests
// run whole commands without starting a program.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"
	promslogflag "github.com/prometheus/common/promslog/flag"
	"github.com/prometheus/common/version"

	"github.com/yoyu-sre/yoyu/internal/config"
)

// Exit codes of every command.
const (
	exitOK    = 0
	exitFault = 1 // the configuration, the arguments or an outside system are at fault
	exitSpent = 3 // report: a budget is spent
	exitShort = 4 // rules --standalone: an SLO is not written, or not in full
)

// Main runs one command and returns its exit code. Answers go to stdout, everything else to
// stderr. It returns soon after ctx ends.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) (code int) {
	defer func() { // kingpin ends the process where it has printed help or a version
		if p := recover(); p != nil {
			done, ok := p.(exit)
			if !ok {
				panic(p)
			}
			code = int(done)
		}
	}()
	k := kingpin.New("yoyu", "How much room is left: in the error budget of every service and in the resources of every workload.")
	k.UsageWriter(stdout).ErrorWriter(stderr).Terminate(func(code int) { panic(exit(code)) })
	k.HelpFlag.Short('h')
	k.Version(versionText())
	logging := &promslog.Config{Writer: stderr}
	promslogflag.AddFlags(k, logging)

	p := &process{stdout: stdout, stderr: stderr}
	commands := map[string]func(context.Context) error{}
	for _, add := range []func(*kingpin.Application, *process) (string, func(context.Context) error){
		addRun, addDemo, addCheck, addReport, addBacktest, addRightsizing, addReadiness, addRules, addDashboards, addProvision,
		addState, addVersion, addHealthcheck, addFiles,
	} {
		name, run := add(k, p)
		commands[name] = run
	}
	chosen, err := k.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "yoyu: %v; see yoyu --help\n", err)
		return exitFault
	}
	p.log = promslog.New(logging)
	err = commands[chosen](ctx)
	var ended exit
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &ended):
		return int(ended)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitOK
	}
	if faults := config.FaultsOf(err); len(faults) > 0 {
		fmt.Fprintln(stderr, err) // one a line, each with its place
	} else {
		fmt.Fprintf(stderr, "yoyu: %v\n", err)
	}
	return exitFault
}

// process is what every command is given.
type process struct {
	stdout, stderr io.Writer
	log            *slog.Logger
}

// exit is an exit code on its way out; everything was said already.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

func addVersion(k *kingpin.Application, p *process) (string, func(context.Context) error) {
	k.Command("version", "Print the version.")
	return "version", func(context.Context) error {
		_, err := fmt.Fprintln(p.stdout, versionText())
		return err
	}
}

// versionText is what the build said of itself; a build without flags falls back to its module.
func versionText() string {
	if version.Version == "" {
		version.Version = "devel"
		if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
			version.Version = info.Main.Version
		}
	}
	return version.Print("yoyu")
}
