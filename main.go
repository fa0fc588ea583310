// Command yoyu tells how much room is left: in the error budget of every service and in the
// resources of every workload.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/yoyu-sre/yoyu/internal/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := app.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
