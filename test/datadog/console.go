package datadog

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Console is the fake with pages for people, for a fake that runs by itself: what is stored, what
// queries answer, what was asked; and knobs for faults, the clock and points of others. Everything
// else is the API.
//
//	GET  /                     what there is to look at
//	GET  /_fake/series?name=   the newest point of every series
//	GET  /_fake/query?query=   what a query answers about the last hour, or &minutes=
//	GET  /_fake/journal        requests, newest first
//	GET  /_fake/dropped        what was silently lost
//	GET  /_fake/monitors, /_fake/dashboards, /_fake/slos   what is kept there, as JSON
//	POST /_fake/faults         do=503, 429, hang, reset, lost or clear; times=3; path=, method=
//	POST /_fake/clock          advance=1h, where the clock is a virtual one
//	POST /_fake/seed           {"metric":"hits","type":"count","interval":10,"tags":["a:b"],"points":[[1767312000,3]]}
func (d *Datadog) Console() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/api/", d)
	mux.HandleFunc("GET /{$}", d.front)
	mux.HandleFunc("GET /_fake/series", d.showSeries)
	mux.HandleFunc("GET /_fake/query", d.showQuery)
	mux.HandleFunc("GET /_fake/journal", d.showJournal)
	mux.HandleFunc("GET /_fake/dropped", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(d.Drops()) // whoever looked has gone
	})
	for name, all := range map[string]func() []map[string]any{"monitors": d.Monitors, "dashboards": d.Dashboards, "slos": d.SLOs} {
		mux.HandleFunc("GET /_fake/"+name, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			out := json.NewEncoder(w)
			out.SetIndent("", "  ")
			_ = out.Encode(all()) // whoever looked has gone
		})
	}
	mux.HandleFunc("POST /_fake/faults", d.setFault)
	mux.HandleFunc("POST /_fake/clock", d.setClock)
	mux.HandleFunc("POST /_fake/seed", d.setPoints)
	return mux
}

func plain(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
}

func (d *Datadog) front(w http.ResponseWriter, r *http.Request) {
	plain(w)
	stored := d.Stored()
	at := "http://" + r.Host
	fmt.Fprintf(w, "This plays Datadog. It holds %d series from %d requests, %d monitors, %d dashboards, %d SLOs.\n\n",
		len(stored), len(d.Journal()), len(d.Monitors()), len(d.Dashboards()), len(d.SLOs()))
	fmt.Fprintf(w, "%s/_fake/series   the newest point of every series\n%s/_fake/journal  what was asked\n%s/_fake/dropped  what was silently lost\n\n", at, at, at)
	for _, s := range stored {
		if i := slices.IndexFunc(stored, func(o Series) bool { return o.Name == s.Name }); stored[i].id() == s.id() {
			fmt.Fprintf(w, "%s/_fake/query?query=%s\n", at, url.QueryEscape("max:"+s.Name+"{*} by {slo}"))
		}
	}
}

func (d *Datadog) showSeries(w http.ResponseWriter, r *http.Request) {
	plain(w)
	for _, s := range d.Stored() {
		if !strings.Contains(s.Name, r.URL.Query().Get("name")) {
			continue
		}
		p := s.Points[len(s.Points)-1]
		fmt.Fprintf(w, "%s{%s} %s %s (%d points)\n", s.Name, strings.Join(s.Tags, ","), strconv.FormatFloat(p.Value, 'g', 6, 64), p.At.Format(time.RFC3339), len(s.Points))
	}
}

func (d *Datadog) showQuery(w http.ResponseWriter, r *http.Request) {
	plain(w)
	query := r.URL.Query().Get("query")
	minutes, err := strconv.Atoi(r.URL.Query().Get("minutes"))
	if err != nil || minutes <= 0 {
		minutes = 60
	}
	now := d.Now()
	found, err := d.Query(query, now.Add(-time.Duration(minutes)*time.Minute), now)
	if err != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintf(w, "%s: %d series\n", query, len(found))
	for _, one := range found {
		fmt.Fprintf(w, "%s, buckets of %ds:", strings.Join(one.Group, ","), one.Interval)
		for _, b := range one.Buckets[max(0, len(one.Buckets)-10):] {
			fmt.Fprintf(w, " %s=%s", b.Start.Format("15:04:05"), strconv.FormatFloat(b.Value, 'g', 6, 64))
		}
		fmt.Fprintln(w)
	}
}

func (d *Datadog) showJournal(w http.ResponseWriter, _ *http.Request) {
	plain(w)
	for _, q := range slices.Backward(d.Journal()) {
		fmt.Fprintf(w, "%s %s %s %d bytes, %d inflated: %d %s\n", q.At.Format(time.RFC3339), q.Method, q.Path, q.Wire, q.Inflated, q.Status, q.Fault)
	}
}

func (d *Datadog) setFault(w http.ResponseWriter, r *http.Request) {
	plain(w)
	do := r.FormValue("do")
	actions := map[string]Action{"hang": Hang, "reset": ResetBefore, "lost": AcceptedButLost, "429": TooMany("5")}
	action, known := actions[do]
	if status, err := strconv.Atoi(do); !known && err == nil && status >= 400 && status < 600 {
		action, known = Status(status), true
	}
	switch {
	case do == "clear":
		d.ClearFaults()
	case !known:
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, "do=%s is none of a status, hang, reset, lost, clear\n", do)
		return
	default:
		times, _ := strconv.Atoi(r.FormValue("times")) // what is no number is for ever
		d.Fault(Fault{Method: r.FormValue("method"), Path: r.FormValue("path"), Times: times, Do: action})
	}
	fmt.Fprintln(w, "ok")
}

func (d *Datadog) setClock(w http.ResponseWriter, r *http.Request) {
	plain(w)
	by, err := time.ParseDuration(r.FormValue("advance"))
	if err != nil || d.options.Clock != nil {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintln(w, "advance=1h moves a virtual clock; this one may be real")
		return
	}
	d.Advance(by)
	fmt.Fprintln(w, d.Now().Format(time.RFC3339))
}

func (d *Datadog) setPoints(w http.ResponseWriter, r *http.Request) {
	plain(w)
	var in struct {
		Metric   string       `json:"metric"`
		Type     string       `json:"type"`
		Interval int64        `json:"interval"`
		Tags     []string     `json:"tags"`
		Points   [][2]float64 `json:"points"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, inflatedV1)).Decode(&in); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintln(w, err)
		return
	}
	points := make([]Point, len(in.Points))
	for i, p := range in.Points {
		points[i] = Point{At: time.Unix(int64(p[0]), 0), Value: p[1]}
	}
	d.Seed(Metric{Name: in.Metric, Type: typesV1[in.Type], Interval: in.Interval, Tags: in.Tags}, points...)
	fmt.Fprintln(w, "ok")
}
