// Command pictures takes the pictures in README.md and docs/pictures. They show the demo at one moment
// of one seed, so that the same commit gives the same pictures with the same Chromium and fonts.
//
//	make pictures
package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/yoyu-sre/yoyu/test/browser"
)

// What the pictures show.
const (
	seed   = "1"
	moment = "2026-01-15T10:00:00Z"
	most   = 250_000 // bytes of a picture
)

// picture is one of a page. Its height is the part of the page that is worth showing.
type picture struct {
	file, page    string
	width, height int
	dark          bool
	run           string // script to run in the page first
}

// pictures are all there are.
var pictures = []picture{
	{file: "overview.png", page: "/", width: 1440, height: 840},
	{file: "overview-dark.png", page: "/", width: 1440, height: 840, dark: true},
	{file: "overview-phone.png", page: "/", width: 390, height: 844},
	{file: "slo.png", page: "/slo?slo=checkout-availability&route=/pay", width: 1440, height: 1200},
	{file: "explain.png", page: "/explain?slo=checkout-availability&route=/pay", width: 1440, height: 1100},
	{file: "rightsizing.png", page: "/rightsizing", width: 1440, height: 1108, run: `document.querySelector('[data-workload="checkout"]').open = true`},
}

func main() {
	yoyu := flag.String("yoyu", "./yoyu", "program to take pictures of")
	out := flag.String("o", "docs/pictures", "folder for the pictures")
	flag.Parse()
	if err := take(*yoyu, *out); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

func take(yoyu, out string) error {
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Minute)
	defer stop()
	folder, err := os.MkdirTemp("", "yoyu-pictures-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	address, end, err := serve(ctx, yoyu, filepath.Join(folder, "state"))
	if err != nil {
		return err
	}
	defer end()
	b, err := browser.Start(ctx, filepath.Join(folder, "profile"))
	if err != nil {
		return err
	}
	defer b.Close()
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, p := range pictures {
		data, err := p.take(ctx, b, address)
		if err != nil {
			return fmt.Errorf("%s: %w", p.file, err)
		}
		file := filepath.Join(out, p.file)
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return err
		}
		fmt.Printf("%s\t%d kB\n", file, (len(data)+999)/1000)
	}
	return nil
}

// serve runs the demo and waits until it has numbers; end ends it.
func serve(ctx context.Context, yoyu, state string) (address string, end func(), err error) {
	cmd := exec.CommandContext(ctx, yoyu, "demo", "--seed", seed, "--at", moment, "--web.listen-address", "127.0.0.1:0", "--storage.path", state)
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
	go io.Copy(io.Discard, stderr)
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

// settled waits for the fonts, for charts, where there are some, and then for two frames.
const settled = `new Promise((done, fail) => {
	const until = Date.now() + 30000, charts = document.getElementById("charts");
	const look = () => {
		if (charts && !charts.dataset.drawn) return Date.now() < until ? setTimeout(look, 50) : fail(new Error("no charts"));
		document.fonts.ready.then(() => requestAnimationFrame(() => requestAnimationFrame(() => done(true))));
	};
	look();
})`

func (p picture) take(ctx context.Context, b *browser.Browser, address string) ([]byte, error) {
	tab, err := b.Open(browser.View{Width: p.width, Height: p.height, Dark: p.dark})
	if err != nil {
		return nil, err
	}
	defer tab.Close()
	if err := tab.Go(ctx, address+p.page); err != nil {
		return nil, err
	}
	// No room for a scrollbar that the picture does not show.
	if _, err := browser.Eval[bool](ctx, tab, `document.documentElement.style.scrollbarGutter = "auto"; document.documentElement.style.overflow = "hidden"; `+p.run+"; true"); err != nil {
		return nil, err
	}
	if _, err := browser.Eval[bool](ctx, tab, settled); err != nil {
		return nil, err
	}
	shot, err := tab.Picture(ctx, false)
	if err != nil {
		return nil, err
	}
	if faults := tab.Faults(); len(faults) > 0 {
		return nil, fmt.Errorf("the page has faults: %q", faults)
	}
	small, err := reduced(shot)
	if err == nil && len(small) > most {
		err = fmt.Errorf("%d bytes, at most %d are wanted", len(small), most)
	}
	return small, err
}

// reduced has the 256 colours that a picture has most of, in place of all: less than half of the bytes.
// A page has few colours besides the edges of its letters.
func reduced(shot []byte) ([]byte, error) {
	from, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		return nil, err
	}
	counts := map[color.RGBA]int{}
	for y := from.Bounds().Min.Y; y < from.Bounds().Max.Y; y++ {
		for x := from.Bounds().Min.X; x < from.Bounds().Max.X; x++ {
			counts[color.RGBAModel.Convert(from.At(x, y)).(color.RGBA)]++
		}
	}
	colours := make([]color.RGBA, 0, len(counts))
	for c := range counts {
		colours = append(colours, c)
	}
	key := func(c color.RGBA) int { return int(c.R)<<16 | int(c.G)<<8 | int(c.B) }
	slices.SortFunc(colours, func(a, b color.RGBA) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return key(a) - key(b)
	})
	var palette color.Palette
	for _, c := range colours[:min(256, len(colours))] {
		palette = append(palette, c)
	}
	to := image.NewPaletted(from.Bounds(), palette)
	draw.Draw(to, to.Bounds(), from, from.Bounds().Min, draw.Src)
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, to)
	return out.Bytes(), err
}
