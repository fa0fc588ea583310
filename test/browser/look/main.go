// Command look takes pictures of addresses, to see what a change to the page does.
//
//	go run ./test/browser/look -o /tmp/look http://localhost:9912/
//
// Every address is taken at 390 and 1440 pixels, light and dark.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/yoyu-sre/yoyu/test/browser"
)

func main() {
	out := flag.String("o", ".", "folder for the pictures")
	flag.Parse()
	if err := look(*out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "look:", err)
		os.Exit(1)
	}
}

func look(out string, addresses []string) error {
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	defer stop()
	profile, err := os.MkdirTemp("", "yoyu-look-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(profile)
	b, err := browser.Start(ctx, profile)
	if err != nil {
		return err
	}
	defer b.Close()
	for i, address := range addresses {
		for _, v := range []browser.View{
			{Width: 1440, Height: 900}, {Width: 1440, Height: 900, Dark: true}, {Width: 390, Height: 844}, {Width: 390, Height: 844, Dark: true},
		} {
			tab, err := b.Open(v)
			if err != nil {
				return err
			}
			if err := tab.Go(ctx, address); err != nil {
				return err
			}
			if _, err := browser.Eval[bool](ctx, tab, "new Promise(done => setTimeout(() => done(true), 500))"); err != nil {
				return err
			}
			png, err := tab.Picture(ctx, true)
			if err != nil {
				return err
			}
			theme := "light"
			if v.Dark {
				theme = "dark"
			}
			name := filepath.Join(out, fmt.Sprintf("%d-%d-%s.png", i, v.Width, theme))
			if err := os.WriteFile(name, png, 0o644); err != nil {
				return err
			}
			fmt.Println(name, tab.Faults(), tab.Hosts())
			tab.Close()
		}
	}
	return nil
}
