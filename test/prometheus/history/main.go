// Command history writes a month of a shop's counters as Prometheus blocks, in the sizes that
// compaction would have left, ready for a server to be started on.
//
//	history -dir=data -end=1700000000 -slos=50
//
// For each SLO there are two series of http_requests_total, of code 200 and 500, a sample each 30 s
// for thirty days up to the end. Traffic follows the day, 0 to 95 requests a second, and is Poisson
// within a slot; 0.05 % of it fails, and of twenty minutes every sixth night 30 %. Beside them
// stands slo:sli_error:ratio_rate5m as a recording rule would have kept it. What the counters end
// with is printed as JSON, so that somebody can go on from there.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

const (
	step        = 30 // seconds between samples
	days        = 30
	fiveMinutes = 300 / step
)

func main() {
	dir := flag.String("dir", "", "folder for the blocks")
	end := flag.Int64("end", 0, "last moment, in Unix seconds; a multiple of 30")
	slos := flag.Int("slos", 50, "how many SLOs")
	flag.Parse()
	if *dir == "" || *end%step != 0 || *end == 0 || *slos < 1 {
		flag.Usage()
		os.Exit(2)
	}
	last, err := write(*dir, *end, *slos)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(last); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// counters are the two counters of one SLO.
type counters struct {
	Good float64 `json:"good"`
	Bad  float64 `json:"bad"`

	random      *rand.Rand
	peak        float64              // requests a second at the busiest hour
	good5, bad5 [fiveMinutes]float64 // increments of the last five minutes
	refs        [3]storage.SeriesRef
	labels      [3]labels.Labels
}

func write(dir string, end int64, slos int) ([]*counters, error) {
	shops := make([]*counters, slos)
	for i := range shops {
		c := &counters{random: rand.New(rand.NewPCG(uint64(i), 7)), peak: 95 * float64(i+1) / float64(slos)}
		service := fmt.Sprintf("service-%02d", i)
		for k, code := range []string{"200", "500"} {
			c.labels[k] = labels.FromStrings("__name__", "http_requests_total", "service", service, "code", code, "instance", "shop-0", "job", "shop")
		}
		id := service + "-availability"
		c.labels[2] = labels.FromStrings("__name__", "slo:sli_error:ratio_rate5m", "sloth_id", id, "sloth_service", service, "sloth_slo", "availability", "sloth_window", "5m")
		shops[i] = c
	}
	begin := end - days*24*3600
	// Whole ranges of compaction, each half as long where it comes near the end.
	for from := begin; from < end; {
		width := int64(54 * 3600)
		for width > 2*3600 && from-from%width+width > end {
			width /= 3
		}
		to := min(from-from%width+width, end+1)
		if err := block(dir, shops, from, to); err != nil {
			return nil, err
		}
		from = to
		if from%step != 0 {
			from += step - from%step
		}
	}
	return shops, nil
}

// block writes the samples of [from, to).
func block(dir string, shops []*counters, from, to int64) error {
	w, err := tsdb.NewBlockWriter(slog.New(slog.NewTextHandler(io.Discard, nil)), dir, (to-from)*1000)
	if err != nil {
		return err
	}
	defer w.Close()
	for _, c := range shops {
		c.refs = [3]storage.SeriesRef{}
	}
	ctx := context.Background()
	app := w.Appender(ctx)
	pending := 0
	for at := from; at < to; at += step {
		for _, c := range shops {
			c.next(at)
			good, bad := 0.0, 0.0
			for k := range fiveMinutes {
				good, bad = good+c.good5[k], bad+c.bad5[k]
			}
			values := [3]float64{c.Good, c.Bad, bad / (good + bad)}
			for k, v := range values {
				if math.IsNaN(v) {
					continue
				}
				ref, err := app.Append(c.refs[k], c.labels[k], at*1000, v)
				if err != nil {
					return err
				}
				c.refs[k] = ref
				pending++
			}
		}
		if pending > 500_000 {
			if err := app.Commit(); err != nil {
				return err
			}
			app, pending = w.Appender(ctx), 0
		}
	}
	if err := app.Commit(); err != nil {
		return err
	}
	_, err = w.Flush(ctx)
	return err
}

// next lets one slot of 30 s go by.
func (c *counters) next(at int64) {
	hour := float64(at%86400) / 3600
	mean := step * c.peak * (1 + math.Cos((hour-14)/24*2*math.Pi)) / 2
	// A Poisson number is near enough to a normal one where it is large, and never negative.
	requests := math.Max(0, math.Round(mean+math.Sqrt(mean)*c.random.NormFloat64()))
	share := 0.0005
	day := time.Unix(at, 0).UTC()
	if at/86400%6 == 3 && day.Hour() == 3 && day.Minute() < 20 {
		share = 0.3
	}
	expected := requests * share
	bad := math.Floor(expected)
	if c.random.Float64() < expected-bad {
		bad++
	}
	c.Good, c.Bad = c.Good+requests-bad, c.Bad+bad
	slot := at / step % fiveMinutes
	c.good5[slot], c.bad5[slot] = requests-bad, bad
}
