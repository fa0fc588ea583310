// Command shop is a small real program for the end-to-end tests: it answers requests, counts them
// with client_golang, and says at its end how many it answered.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address")
	codes := flag.String("codes", "200", "codes whose counters are there from the start")
	flag.Parse()

	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "http_requests_total", Help: "Requests answered."}, []string{"service", "route", "code"})
	reg.MustRegister(requests)
	for code := range strings.SplitSeq(*codes, ",") {
		requests.WithLabelValues("checkout", "/pay", code)
	}

	var mu sync.Mutex
	answered := map[string]int{} // the program's own count, beside the library's
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("/pay", func(w http.ResponseWriter, r *http.Request) {
		code := http.StatusOK
		if r.URL.Query().Has("fail") {
			code = http.StatusInternalServerError
		}
		mu.Lock()
		answered[strconv.Itoa(code)]++
		requests.WithLabelValues("checkout", "/pay", strconv.Itoa(code)).Inc()
		mu.Unlock()
		w.WriteHeader(code)
	})

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Shutdown(context.WithoutCancel(ctx)) // the process ends either way
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	mu.Lock()
	defer mu.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(answered)
}
