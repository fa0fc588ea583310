package datadog

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// post submits a body as it is.
func post(t *testing.T, d *Datadog, path string, header map[string]string, body []byte) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://fake"+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("DD-API-KEY", APIKey)
	r.Header.Set("Content-Type", "application/json")
	for name, value := range header {
		r.Header.Set(name, value)
	}
	response, err := d.Transport().RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func gzipped(t *testing.T, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// padded is an empty payload of exactly so many bytes.
func padded(size int) []byte {
	const empty = `{"series":[]}`
	return append([]byte(empty), bytes.Repeat([]byte(" "), size-len(empty))...)
}

// noise is text that does not compress.
func noise(size int) []byte {
	out := make([]byte, size)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(out) // it never fails
	return out
}

// The checks come in one order: who asks, in what form, how much, what.
func TestIntakeChecksInTheRecordedOrder(t *testing.T) {
	none := map[string]string{}
	for _, c := range []struct {
		name   string
		path   string
		header map[string]string
		body   []byte
		want   int
		says   string
	}{
		{"no key, whatever else is wrong", "/api/v2/series", map[string]string{"DD-API-KEY": "", "Content-Type": "text/plain"}, noise(wireV2 + 1), 403, `"Forbidden"`},
		{"an unknown key", "/api/v2/series", map[string]string{"DD-API-KEY": "x"}, padded(20), 403, `"Forbidden"`},
		{"a type that it does not take, and too large", "/api/v2/series", map[string]string{"Content-Type": "text/plain"}, padded(wireV2), 400, "content type"},
		{"too large on the wire, and nonsense", "/api/v2/series", none, noise(wireV2), 413, "Payload too large"},
		{"just right on the wire", "/api/v2/series", none, padded(wireV2 - 1), 202, ""},
		{"too large inflated", "/api/v2/series", map[string]string{"Content-Encoding": "gzip"}, gzipped(t, padded(inflatedV2+1)), 413, "Payload too large"},
		{"just right inflated", "/api/v2/series", map[string]string{"Content-Encoding": "gzip"}, gzipped(t, padded(inflatedV2)), 202, ""},
		{"version 1 takes more", "/api/v1/series", map[string]string{"Content-Encoding": "gzip"}, gzipped(t, padded(inflatedV2+1)), 202, `"ok"`},
		{"and more on the wire", "/api/v1/series", none, padded(wireV2), 202, `"ok"`},
		{"but not everything", "/api/v1/series", none, padded(wireV1), 413, "Payload too large"},
		{"no gzip", "/api/v2/series", map[string]string{"Content-Encoding": "gzip"}, padded(20), 400, "decompressed"},
		{"an encoding that nobody knows is none", "/api/v2/series", map[string]string{"Content-Encoding": "zstd1"}, gzipped(t, padded(20)), 400, "valid JSON"},
		{"identity", "/api/v2/series", map[string]string{"Content-Encoding": "identity"}, padded(20), 202, ""},
		{"no JSON", "/api/v2/series", none, []byte("series"), 400, "valid JSON"},
		{"a list", "/api/v2/series", none, []byte("[]"), 400, "valid JSON"},
		{"half of it", "/api/v2/series", none, []byte(`{"series":[`), 400, "valid JSON"},
		{"a value that is text", "/api/v2/series", none, []byte(`{"series":[{"metric":"a","points":[{"timestamp":1767312000,"value":"1"}]}]}`), 400, "valid JSON"},
		{"nothing at all is fine", "/api/v2/series", none, []byte("{}"), 202, `{"errors":[]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, answer := post(t, New(Options{}), c.path, c.header, c.body)
			if status != c.want || !strings.Contains(answer, c.says) {
				t.Errorf("%d %.200s, want %d with %s", status, answer, c.want, c.says)
			}
		})
	}
}

func TestEncodings(t *testing.T) {
	var deflated bytes.Buffer
	w := zlib.NewWriter(&deflated)
	payload := []byte(`{"series":[{"metric":"a","points":[[1767312000,1]]}]}`)
	if _, err := w.Write(payload); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for encoding, body := range map[string][]byte{"": payload, "gzip": gzipped(t, payload), "deflate": deflated.Bytes()} {
		d := New(Options{})
		if status, answer := post(t, d, "/api/v1/series", map[string]string{"Content-Encoding": encoding}, body); status != 202 || len(d.Stored()) != 1 {
			t.Errorf("%s: %d %s, %d series", encoding, status, answer, len(d.Stored()))
		}
	}
}

// The answer is yes, and single series are lost without a word.
func TestSilentDrops(t *testing.T) {
	const at = 1767312000 // where the clock begins
	point := fmt.Sprintf(`[{"timestamp":%d,"value":1}]`, at)
	tags := func(n int, length int) string {
		var out []string
		for i := range n {
			out = append(out, fmt.Sprintf(`"k%d:%s"`, i, strings.Repeat("x", length)))
		}
		return "[" + strings.Join(out, ",") + "]"
	}
	for _, c := range []struct {
		name, series string
		want         map[string]int
		stored       int
	}{
		{"a good one", `{"metric":"a.b","type":3,"points":` + point + `}`, map[string]int{}, 1},
		{"no name", `{"metric":"","points":` + point + `}`, map[string]int{"name_empty": 1}, 0},
		{"no letter", `{"metric":"1.2_3","points":` + point + `}`, map[string]int{"name_no_alpha": 1}, 0},
		{"a long name", `{"metric":"` + strings.Repeat("a", 351) + `","points":` + point + `}`, map[string]int{"name_too_long": 1}, 0},
		{"a type that there is not", `{"metric":"a","type":9,"points":` + point + `}`, map[string]int{"bad_type": 1}, 0},
		{"as many tags as may be", `{"metric":"a","tags":` + tags(100, 5) + `,"points":` + point + `}`, map[string]int{}, 1},
		{"too many tags", `{"metric":"a","tags":` + tags(101, 5) + `,"points":` + point + `}`, map[string]int{"too_many_tags": 1}, 0},
		{"tags that are too large", `{"metric":"a","tags":` + tags(100, 1100) + `,"points":` + point + `}`, map[string]int{"tagset_too_large": 1}, 0},
		{"a long tag", `{"metric":"a","tags":` + tags(1, 300) + `,"points":` + point + `}`, map[string]int{"tag_clipped": 1}, 1},
		{"a device is a resource", `{"metric":"a","tags":["device:sda","x:y"],"points":` + point + `}`, map[string]int{"tag_reserved": 1}, 1},
		{"a long host", `{"metric":"a","resources":[{"type":"host","name":"` + strings.Repeat("h", 256) + `"}],"points":` + point + `}`, map[string]int{"bad_resource": 1}, 0},
		{"ten minutes ahead", fmt.Sprintf(`{"metric":"a","points":[{"timestamp":%d,"value":1},{"timestamp":%d,"value":1}]}`, at+600, at+601), map[string]int{"ts_future": 1}, 1},
		{"an hour ago", fmt.Sprintf(`{"metric":"a","points":[{"timestamp":%d,"value":1},{"timestamp":%d,"value":1}]}`, at-3600, at-3601), map[string]int{"ts_past": 1}, 1},
		{"no value", fmt.Sprintf(`{"metric":"a","points":[{"timestamp":%d,"value":null}]}`, at), map[string]int{"nan": 1}, 0},
		{"a field that it does not know", `{"metric":"a","colour":"red","points":` + point + `}`, map[string]int{"unknown_field": 1}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := New(Options{Strict: true})
			status, answer := post(t, d, "/api/v2/series", nil, []byte(`{"series":[`+c.series+`,{"metric":"neighbour","points":`+point+`}]}`))
			if status != 202 || answer != `{"errors":[]}` {
				t.Errorf("%d %s", status, answer)
			}
			if got := d.Drops(); !maps.Equal(got, c.want) {
				t.Errorf("lost %v, want %v", got, c.want)
			}
			if n := len(d.Stored()); n != c.stored+1 {
				t.Errorf("%d series are stored, want %d and the neighbour", n, c.stored)
			}
		})
	}
}

func TestNamesAndTagsAsStored(t *testing.T) {
	for in, want := range map[string]string{"slo.burn_rate": "slo.burn_rate", "SLO.Burn": "SLO.Burn", "slo-burn rate": "slo_burn_rate", "__slo": "slo", "9slo": "slo", "slo.余裕": "slo.__"} {
		if got := storedName(in); got != want {
			t.Errorf("name %s: %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"Slo:Checkout": "slo:checkout", "route:/v1/items/:id": "route:/v1/items/:id", "route:GET /a?b": "route:get_/a_b", "a::": "a", "_x:y": "x:y", "9": "",
		"route:/カート": "route:/カート", "k:" + strings.Repeat("ö", 150): "k:" + strings.Repeat("ö", 99), " a:b ": "a:b",
	} {
		if got := storedTag(in); got != want {
			t.Errorf("tag %s: %s, want %s", in, got, want)
		}
	}
}

// A second has one value, the last one written, whatever the order of the tags.
func TestLastWriteWins(t *testing.T) {
	d := New(Options{})
	for i, tags := range []string{`["a:1","b:2"]`, `["b:2","a:1","a:1"]`, `["B:2","A:1"]`} {
		if status, answer := post(t, d, "/api/v1/series", nil, fmt.Appendf(nil, `{"series":[{"metric":"m","tags":%s,"points":[[1767312000,%d],[1767311990,9]]}]}`, tags, i)); status != 202 {
			t.Fatal(answer)
		}
	}
	stored := d.Stored()
	if len(stored) != 1 || len(stored[0].Points) != 2 || stored[0].Points[1].Value != 2 || !slices.Equal(stored[0].Tags, []string{"a:1", "b:2"}) {
		t.Errorf("stored %+v", stored)
	}
	if status, _ := post(t, d, "/api/v1/series", nil, []byte(`{"series":[{"metric":"m","host":"h","tags":["a:1","b:2"],"points":[[1767312000,5]]}]}`)); status != 202 || len(d.Stored()) != 2 {
		t.Error("a host tells series apart")
	}
}

// What is submitted is seen later, and until then a second shows what it held before.
func TestVisibility(t *testing.T) {
	d := New(Options{Visible: 20 * time.Second})
	submit := func(v int) {
		t.Helper()
		if status, answer := post(t, d, "/api/v1/series", nil, fmt.Appendf(nil, `{"series":[{"metric":"m","points":[[1767312000,%d]]}]}`, v)); status != 202 {
			t.Fatal(answer)
		}
	}
	seen := func() float64 {
		t.Helper()
		found, err := d.Query("avg:m{*}.rollup(60)", d.Now().Add(-time.Hour), d.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 {
			return -1
		}
		return found[0].Buckets[0].Value
	}
	submit(1)
	for i, want := range []float64{-1, -1, 1} {
		if got := seen(); got != want {
			t.Errorf("after %ds: %v, want %v", 10*i, got, want)
		}
		d.Advance(10 * time.Second)
	}
	submit(2)
	if got := seen(); got != 1 {
		t.Errorf("a value that is not visible yet hides the old one: %v", got)
	}
	d.Advance(20 * time.Second)
	if got := seen(); got != 2 {
		t.Errorf("%v, want the new value", got)
	}
}
