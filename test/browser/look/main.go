// Command look takes pictures of addresses, to see what a change to the pages does.
//
//	go run ./test/browser/look -o /tmp/look http://localhost:9912/ http://localhost:9912/rightsizing
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/yoyu-sre/yoyu/test/browser"
)

func main() {
	out := flag.String("o", ".", "folder for the pictures")
	views := flag.String("views", "1440-light,1440-dark,390-light,390-dark", "widths and themes to look with")
	run := flag.String("run", "", "script to run in the page first")
	flag.Parse()
	if err := look(*out, *views, *run, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "look:", err)
		os.Exit(1)
	}
}

// settled waits for charts, where there are some, and then for two frames.
const settled = `new Promise(done => {
	const until = Date.now() + 3000, charts = document.getElementById("charts");
	const look = () => charts && !charts.dataset.drawn && Date.now() < until ? setTimeout(look, 50) : requestAnimationFrame(() => requestAnimationFrame(() => done(true)));
	look();
})`

func look(out, views, run string, addresses []string) error {
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Minute)
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
		for name := range strings.SplitSeq(views, ",") {
			v := browser.View{Height: 900}
			theme := ""
			if _, err := fmt.Sscanf(strings.ReplaceAll(name, "-", " "), "%d %s", &v.Width, &theme); err != nil {
				return fmt.Errorf("view %q: want one such as 390-dark", name)
			}
			v.Dark = theme == "dark"
			tab, err := b.Open(v)
			if err != nil {
				return err
			}
			if err := tab.Go(ctx, address); err != nil {
				return err
			}
			if run != "" {
				if _, err := browser.Eval[any](ctx, tab, run+"; null"); err != nil && !strings.Contains(err.Error(), "null") {
					return err
				}
			}
			if _, err := browser.Eval[bool](ctx, tab, settled); err != nil {
				return err
			}
			png, err := tab.Picture(ctx, true)
			if err != nil {
				return err
			}
			file := filepath.Join(out, fmt.Sprintf("%d-%s.png", i, name))
			if err := os.WriteFile(file, png, 0o644); err != nil {
				return err
			}
			fmt.Println(file, strings.Join(tab.Faults(), "\n  "))
			tab.Close()
		}
	}
	return nil
}
