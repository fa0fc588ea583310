package app

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/pipeline"
	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
	sourcecloudwatch "github.com/yoyu-sre/yoyu/sources/cloudwatch"
	fake "github.com/yoyu-sre/yoyu/test/cloudwatch"
)

// Each way in which CloudWatch, or what stands before it, fails is counted by its own word, and no
// secret shows in what is said of it.
func TestReasonsOfCloudWatch(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", fake.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", fake.SecretKey)
	t.Setenv("AWS_SESSION_TOKEN", "session-token-that-nobody-sees")
	t.Setenv("AWS_CA_BUNDLE", "")
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		t.Setenv(name, filepath.Join(t.TempDir(), "none"))
	}
	says := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:9/elsewhere")
			w.WriteHeader(code)
			_, _ = io.WriteString(w, strings.ReplaceAll(body, "HEADER", r.Header.Get("X-Amz-Security-Token")))
		}
	}
	f := fake.New(fake.Options{})
	fails := func(what fake.Fault) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			f.Heal()
			f.Fault(what)
			f.ServeHTTP(w, r)
		}
	}
	f.Count(fake.Metric{Namespace: "Shop", Name: "Requests"}, time.Now().Add(-time.Minute), 1)
	for _, c := range []struct {
		why, text string
		answer    http.HandlerFunc // nil: nobody listens
	}{
		{"refused", "connection refused", nil},
		{"timeout", "no answer in time", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() }},
		{"http_4xx", "403 Forbidden", says(403, "<html>HEADER</html>")},
		{"http_5xx", "502 Bad Gateway", says(502, "<html>HEADER</html>")},
		{"redirect", "302 Found", says(302, "")},
		{"decode", "the answer is not what AWS says", says(200, "<html>HEADER</html>")},
		{"http_4xx", "AccessDenied: a fault of the test: does the role allow cloudwatch:GetMetricData?", fails(fake.Fault{Code: "AccessDenied", Status: 403})},
		{"http_5xx", "InternalServiceFault: a fault of the test", fails(fake.Fault{Code: "InternalServiceFault", Status: 500})},
		{"partial", "CloudWatch says PartialData", fails(fake.Fault{Result: "PartialData"})},
	} {
		t.Run(c.why+" "+c.text, func(t *testing.T) {
			server := httptest.NewServer(c.answer)
			defer server.Close()
			if c.answer == nil {
				server.Close()
			}
			t.Setenv("AWS_SESSION_TOKEN", "")
			if c.text[0] >= '0' && c.text[0] <= '9' || c.why == "decode" {
				t.Setenv("AWS_SESSION_TOKEN", "session-token-that-nobody-sees")
			}
			settings := sourcecloudwatch.DefaultConfig()
			settings.Region, settings.URL = fake.Region, server.URL
			s, err := sourcecloudwatch.New(sourcecloudwatch.Options{Name: "aws", Config: settings, Tick: time.Minute, Questions: []sources.Question{{
				SLO: "it", Period: slo.Day, Indicator: sources.Indicator{Kind: sources.CloudWatch, Scope: selectors.CloudWatchScope{Namespace: "Shop"}.String(), Total: "Requests", Bad: "Errors"},
			}}})
			if err != nil {
				t.Fatal(err)
			}
			patience := time.Minute // only a failure to answer may end it
			if c.why == "timeout" {
				patience = 100 * time.Millisecond
			}
			ctx, stop := context.WithTimeout(t.Context(), patience)
			defer stop()
			at := time.Now().Truncate(time.Minute)
			samples, err := s.Collect(ctx, slo.Span{From: at.Add(-time.Minute), To: at})
			if err == nil {
				err = samples[0].Err
			}
			if err == nil || pipeline.Reason(err) != c.why || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("%v is counted as %s", err, pipeline.Reason(err))
			}
			for _, secret := range []string{fake.SecretKey, "session-token-that-nobody-sees"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%v", err)
				}
			}
		})
	}
}
