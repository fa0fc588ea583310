package browser

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// What the demo shows to a browser: one moment of one seed, for ever.
const (
	Seed   = "1"
	Moment = "2026-01-15T10:00:00Z"
)

// Demo runs a yoyu with the demo at that moment and waits until it has numbers; end ends it.
func Demo(ctx context.Context, yoyu, state string) (address string, end func(), err error) {
	cmd := exec.CommandContext(ctx, yoyu, "demo", "--seed", Seed, "--at", Moment, "--web.listen-address", "127.0.0.1:0", "--storage.path", state)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	end = func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait() // whatever it says at its end: the pictures are taken
	}
	// The system chooses the port; only the log has it.
	var said strings.Builder
	lines := bufio.NewScanner(stderr)
	for address == "" && lines.Scan() {
		said.WriteString("\n" + lines.Text())
		if _, after, ok := strings.Cut(lines.Text(), `msg="Listening on" address=`); ok {
			address = "http://" + strings.TrimSpace(after)
		}
	}
	if address == "" {
		end()
		return "", nil, fmt.Errorf("%s demo listens nowhere:%s", yoyu, said.String())
	}
	go func() { _, _ = io.Copy(io.Discard, stderr) }()
	for look := time.NewTicker(100 * time.Millisecond); ; {
		if ready(ctx, address) {
			look.Stop()
			return address, end, nil
		}
		select {
		case <-ctx.Done():
			end()
			return "", nil, fmt.Errorf("%s demo did not become ready: %w", yoyu, context.Cause(ctx))
		case <-look.C:
		}
	}
}

func ready(ctx context.Context, address string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/-/ready", nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// Settled is an expression that waits for the fonts, for charts, where there are some, and then for two frames.
const Settled = `new Promise((done, fail) => {
	const until = Date.now() + 30000, charts = document.getElementById("charts");
	const look = () => {
		if (charts && !charts.dataset.drawn) return Date.now() < until ? setTimeout(look, 50) : fail(new Error("no charts"));
		document.fonts.ready.then(() => requestAnimationFrame(() => requestAnimationFrame(() => done(true))));
	};
	look();
})`
