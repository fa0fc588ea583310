package demo

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func post(i *Intake, encoding string, body []byte, key string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/api/v1/series", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Content-Encoding", encoding)
	if key != "" {
		r.Header.Set("DD-API-KEY", key)
	}
	w := httptest.NewRecorder()
	i.ServeHTTP(w, r)
	return w
}

func compressed(t *testing.T, w func(io.Writer) io.WriteCloser, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	c := w(&b)
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(w io.Writer) io.WriteCloser  { return gzip.NewWriter(w) }
func deflated(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }

// page are the lines about series.
func page(i *Intake) []string {
	w := httptest.NewRecorder()
	i.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	_, lines, _ := strings.Cut(w.Body.String(), "\n\n")
	return strings.Split(strings.TrimSuffix(lines, "\n"), "\n")
}

func TestIntake(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	series := func(name, tags string, points ...any) string {
		var p []string
		for i := 0; i < len(points); i += 2 {
			p = append(p, fmt.Sprintf("[%d, %v]", now.Add(points[i].(time.Duration)).Unix(), points[i+1]))
		}
		return fmt.Sprintf(`{"series":[{"metric":%q,"type":"gauge","tags":[%s],"points":[%s]}]}`, name, tags, strings.Join(p, ","))
	}
	i := NewIntake()
	for _, one := range []struct{ encoding, text string }{
		{"gzip", series("slo.burn_rate", `"window:1h","slo:Checkout"`, -time.Minute, 1.5, time.Duration(0), 14.5)},
		{"deflate", series("slo.burn_rate", `"slo:Checkout","window:1h"`, -time.Minute, 99)},      // older: the newest stays
		{"identity", series("slo.burn_rate", `"slo:checkout","window:1h"`, time.Duration(0), 15)}, // the same second: the last wins
		{"gzip", series("slo.late", "", -2*time.Hour, 1)},                                         // taken, and dropped
		{"gzip", series("slo.early", "", 11*time.Minute, 1)},
		{"gzip", series("slo.nothing", "", time.Duration(0), "null")},
		{"gzip", series("slo.whole", "", time.Duration(0), 43200)},
		{"gzip", `{}`},
	} {
		body := []byte(one.text)
		switch one.encoding {
		case "gzip":
			body = compressed(t, gzipped, one.text)
		case "deflate":
			body = compressed(t, deflated, one.text)
		}
		w := post(i, one.encoding, body, "key")
		if w.Code != http.StatusAccepted || w.Body.String() != `{"status": "ok"}` || w.Header().Get("Content-Type") != "text/json" {
			t.Errorf("%s: %d %s", one.text, w.Code, w.Body)
		}
	}
	at := now.Format(time.RFC3339)
	want := []string{"slo.burn_rate{slo:checkout,window:1h} 15 " + at, "slo.whole{} 43200 " + at}
	if got := page(i); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("page:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestIntakeRefuses(t *testing.T) {
	i := NewIntake()
	i.wire, i.inflated = 1000, 5000
	for _, tt := range []struct {
		name, encoding string
		body           []byte
		key            string
		want           int
	}{
		{"no key", "", []byte(`{}`), "", http.StatusForbidden},
		{"no JSON", "", []byte(`{"series":`), "key", http.StatusBadRequest},
		{"no gzip", "gzip", []byte(`{}`), "key", http.StatusBadRequest},
		{"an encoding it does not know", "br", []byte(`{}`), "key", http.StatusBadRequest},
		{"too large on the wire", "", bytes.Repeat([]byte(" "), 1001), "key", http.StatusRequestEntityTooLarge},
		{"too large inflated", "gzip", compressed(t, gzipped, strings.Repeat(" ", 5001)), "key", http.StatusRequestEntityTooLarge},
	} {
		if w := post(i, tt.encoding, tt.body, tt.key); w.Code != tt.want || !strings.Contains(w.Body.String(), `"errors":[`) {
			t.Errorf("%s: %d %s, want %d", tt.name, w.Code, w.Body, tt.want)
		}
	}
	w := httptest.NewRecorder()
	i.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/v2/series", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("another address: %d", w.Code)
	}
	if got := page(i); len(got) != 1 || got[0] != "" {
		t.Errorf("series from refused requests: %q", got)
	}
}
