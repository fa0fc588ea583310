// Command pictures takes the pictures in README.md and docs/pictures. They show the demo at one moment
// of one seed, so that the same commit gives the same pictures with the same Chromium and fonts.
//
//	make pictures
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/yoyu-sre/yoyu/test/browser"
)

const most = 250_000 // bytes of a picture

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
	address, end, err := browser.Demo(ctx, yoyu, filepath.Join(folder, "state"))
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
	if _, err := browser.Eval[bool](ctx, tab, browser.Settled); err != nil {
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
