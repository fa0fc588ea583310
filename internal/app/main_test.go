package app

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var slogDiscard = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"yoyu": func() { os.Exit(Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// The scripts read like a terminal.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}
