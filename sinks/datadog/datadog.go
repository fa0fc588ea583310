// Package datadog sends reports to Datadog as gauges.
//
// Names are those of /metrics with a dot after the first word (slo.burn_rate), tags are made to
// join with what Datadog already knows: service, env, team, kube_namespace, kube_deployment. Every
// point carries the time of the report in whole seconds; Datadog keeps the last value written for
// a name, its tags and a second, so writing a report again changes nothing.
//
// On an error nothing is queued: the report is lost, and the next one, with newer values of the
// same gauges, takes its place. A rejected part of a report does not hold up the other parts. The
// key is read from its file at every write, so a rotated key counts from the next report on; it
// appears in no error and no log.
//
//	*Report ──Points──▶ names and tags ──▶ POST /api/v1/series, gzip
//
// The official client is used for the intake of version 1, whose package compiles in a fraction of
// the other's time. It neither splits, nor filters what JSON cannot hold, nor ends in time: all of
// that is done here.
package datadog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	client "github.com/DataDog/datadog-api-client-go/v2/api/datadog"
	"github.com/DataDog/datadog-api-client-go/v2/api/datadogV1"

	"github.com/yoyu-sre/yoyu/sinks"
)

const (
	// seriesPerRequest keeps a request below what any intake takes, 5 MiB before compression:
	// a series with its tags is about 300 bytes.
	seriesPerRequest = 10_000

	// requestTimeout is for one request, with everything it has to wait for.
	requestTimeout = 15 * time.Second

	// answerLimit is how much of an answer is read: an intake says little, a broken proxy may not.
	answerLimit = 1 << 20

	// excerpt is how much of an answer's own words goes into an error.
	excerpt = 200
)

// Sink sends reports to one organisation. It belongs to one goroutine at a time.
type Sink struct {
	name      string
	keyFile   string
	selection sinks.Selection
	tagger    tagger
	server    context.Context // the server's address, as the client wants it
	api       *datadogV1.MetricsApi
	log       *slog.Logger

	told counts // what the log was told last
}

var _ sinks.Sink = (*Sink)(nil)

// counts is what one report becomes.
type counts struct {
	series int // custom metrics: what Datadog bills
	merged int // left out, because Datadog cannot tell them from another
}

// Options are what a sink is made of.
type Options struct {
	Name           string
	Config         Config            // as validated
	ExternalLabels map[string]string // tags of every series, unless it has its own of that key
	Env            string            // tag env where Config.Tags have none; DD_ENV when empty
	Transport      http.RoundTripper // nil: a clone of the default one
	Logger         *slog.Logger      // nil: silent
}

// New makes a sink. It sends nothing yet, and does not ask for the key before the first report.
func New(o Options) (*Sink, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	s := &Sink{
		name:      cmp.Or(o.Name, "datadog"),
		keyFile:   o.Config.APIKeyFile,
		selection: presets[cmp.Or(o.Config.Metrics, Standard)],
		tagger:    newTagger(o.Config.Tags, cmp.Or(o.Env, os.Getenv("DD_ENV")), o.ExternalLabels),
		server:    server(o.Config),
		log:       o.Logger,
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	transport := o.Transport
	if transport == nil {
		transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	settings := client.NewConfiguration()
	settings.UserAgent = "yoyu"
	settings.HTTPClient = &http.Client{
		Transport: limited{transport},
		Timeout:   requestTimeout,
		// The key is a header that a redirect would carry to wherever it points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s.api = datadogV1.NewMetricsApi(client.NewAPIClient(settings))
	return s, nil
}

// server is the address of the intake, as the client takes it: values of a context.
func server(c Config) context.Context {
	index, variables := 2, map[string]string{"site": cmp.Or(c.Site, defaultSite)} // any site
	if c.URL != "" {
		index = 1 // any address
		protocol, name, _ := strings.Cut(strings.TrimRight(c.URL, "/"), "://")
		variables = map[string]string{"protocol": protocol, "name": name}
	}
	ctx := context.WithValue(context.Background(), client.ContextServerIndex, index)
	return context.WithValue(ctx, client.ContextServerVariables, variables)
}

// Name is the sink's name.
func (s *Sink) Name() string { return s.name }

// Write sends the report. An error names every request that failed, without the key.
func (s *Sink) Write(ctx context.Context, r *sinks.Report) error {
	series, n := s.series(r)
	s.tell(n)
	if len(series) == 0 {
		return ctx.Err()
	}
	key, err := readKey(s.keyFile)
	if err != nil {
		return err
	}
	var failed []error
	for len(series) > 0 && ctx.Err() == nil {
		part := series[:min(len(series), seriesPerRequest)]
		series = series[len(part):]
		if err := s.submit(ctx, key, part); err != nil {
			failed = append(failed, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.Join(failed...)
}

// Count is the number of custom metrics that the report becomes: what Datadog bills.
func (s *Sink) Count(r *sinks.Report) int {
	_, n := s.series(r)
	return n.series
}

// series are the report's gauges with their names and tags.
func (s *Sink) series(r *sinks.Report) ([]datadogV1.Series, counts) {
	kind := "gauge"
	at := float64(r.Time.Unix())
	var out []datadogV1.Series
	var n counts
	seen := map[string]struct{}{}
	for p := range r.Points(s.selection) {
		name, tags := p.Family.Dotted(), s.tagger.tags(p)
		id := name + "\x00" + strings.Join(tags, "\x00")
		if _, twice := seen[id]; twice {
			n.merged++ // of two values for one series the last would win, whichever that is
			continue
		}
		seen[id] = struct{}{}
		moment, value := at, p.Value
		out = append(out, datadogV1.Series{Metric: name, Type: &kind, Tags: tags, Points: [][]*float64{{&moment, &value}}})
	}
	n.series = len(out)
	return out, n
}

// tell logs what a report costs, when that changes.
func (s *Sink) tell(n counts) {
	if n.series != s.told.series {
		s.log.Info("Datadog custom metrics", "sink", s.name, "count", n.series)
	}
	if n.merged != s.told.merged && n.merged > 0 {
		s.log.Warn("Datadog cannot tell some series apart: their tags differ only in case, in characters it replaces, or beyond its length; the first of each is sent",
			"sink", s.name, "left_out", n.merged)
	}
	s.told = n
}

func (s *Sink) submit(ctx context.Context, key string, series []datadogV1.Series) error {
	for _, name := range []any{client.ContextServerIndex, client.ContextServerVariables} {
		ctx = context.WithValue(ctx, name, s.server.Value(name))
	}
	ctx = context.WithValue(ctx, client.ContextAPIKeys, map[string]client.APIKey{"apiKeyAuth": {Key: key}})
	answer, response, err := s.api.SubmitMetrics(ctx, datadogV1.MetricsPayload{Series: series},
		*datadogV1.NewSubmitMetricsOptionalParameters().WithContentEncoding(datadogV1.METRICCONTENTENCODING_GZIP))
	if err == nil {
		// A proxy in front may answer as the intake of version 2 does: accepted, with complaints.
		if complaints, ok := answer.AdditionalProperties["errors"].([]any); ok && len(complaints) > 0 {
			return fmt.Errorf("series: %s", told(fmt.Sprint(complaints...), key))
		}
		return nil
	}
	text := ""
	var refused client.GenericOpenAPIError
	if errors.As(err, &refused) && response != nil {
		text = response.Status
		if model, ok := refused.ErrorModel.(datadogV1.APIErrorResponse); ok && len(model.Errors) > 0 {
			text += ": " + strings.Join(model.Errors, ", ")
		} else if response.StatusCode < 300 {
			text += ": not the answer of an intake"
		}
		return fmt.Errorf("series: %s", told(text, key))
	}
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err // the address is in the configuration; an error need not repeat it
	}
	if strings.Contains(err.Error(), key) {
		return errors.New("series: " + told(err.Error(), key))
	}
	return fmt.Errorf("series: %w", err)
}

// told is somebody else's text, fit for an error: without the key, on one line, not too long.
func told(text, key string) string {
	text = strings.ReplaceAll(text, key, "<secret>")
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > excerpt {
		text = strings.ToValidUTF8(text[:excerpt], "") + "…"
	}
	return text
}

// readKey reads the API key. It is a small file and a report is rare: reading it each time is the
// surest way to notice a new one.
func readKey(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("api key: %w", err)
	}
	key := strings.TrimSpace(string(data))
	if key == "" {
		return "", fmt.Errorf("api key: %s is empty", path)
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("api key: %s holds more than a key", path)
	}
	return key, nil
}

// limited reads no more of an answer than an intake has to say.
type limited struct{ http.RoundTripper }

func (l limited) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := l.RoundTripper.RoundTrip(request)
	if err == nil {
		response.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(response.Body, answerLimit), response.Body}
	}
	return response, err
}
