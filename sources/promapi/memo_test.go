package promapi

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// vector is an answer with one result for each of the texts behind its brace.
func vector(results ...string) string {
	return `{"status":"success","data":{"resultType":"vector","result":[{` + strings.Join(results, `},{`) + `}]}}`
}

// What is remembered of earlier answers changes nothing of what a later one says, however it is
// written and in whatever order its series come.
func TestMemoChangesNothing(t *testing.T) {
	a, b, c := `"metric":{"__name__":"hits","code":"200"}`, `"metric":{"__name__":"hits","code":"500"}`, `"metric":{"path":"/{id}","__name__":"hits"}`
	bodies := []string{
		vector(a+`,"value":[1772323230.123,"37"]`, b+`,"value":[1772323230.123,"1"]`, c+`,"value":[1772323230.123,"2"]`),
		vector(a+`,"value":[1772323260.123,"38"]`, b+`,"value":[1772323260.123,"1"]`, c+`,"value":[1772323260.123,"3"]`),
		vector(b+`,"value":[1772323290,"1"]`, a+`,"value":[1772323290.5,"39"]`), // another order, one gone
		vector(a+`,"value":[1772323290.5,"1e3"]`, b+`,"value":[-1.5,"NaN"]`, c+`,"value":[1772323290.51,"0.5"]`),
		vector(a+`,"values":[[1,"1"],[2.25,"2"],[3.125,"3"]]`, b+`,"values":[]`, c+`,"values":[[1,"1"]]`),
		vector(a + `,"values":[[1,"1"],[2,"2"],[3,"3"],[4,"4"],[5,"5"],[6,"6"],[7,"7"],[8,"8"],[9,"9"],[10,"10"]]`),
		vector(a+` , "value" : [1,"2"] `, `"value":[1,"2"],`+b, `"metric": {"__name__":"hits","code":"200"},"value":[3,"4"]`),
		vector(`"value":[1,"7"],`+a, a+`,"value":[2,"8"]`), // what stands before the labels belongs to its own series
		vector(a + `,"value":[1,"2"],"histogram":[3,{"count":"7","sum":"1.5","buckets":[[3,"-0.5","0.5","3"]]}]`),
		vector(a + `,"metric":{"__name__":"other"},"value":[1,"2"]`),
		vector(a+`,"value":[1,"123456789012345678"]`, b+`,"value":[1234567890123,"1"]`),
		vector(`"metric":{},"value":[1,"2"]`, `"metric":{},"value":[1,"3"]`),
		vector(a + `,"values":[[2,"1"],[1,"2"]]`), // refused: out of order
		vector(a + `,"value":[1.1234,"2"]`),
		vector(a + `,"value":[1,""]`),
		vector(a + `,"value":[1,"2"`),
		vector(a+`,"value":[1,"2"]`) + `x`,
		vector(a+`,"value":[1,"0.1"]`, b+`,"value":[1,"1234567.89012345"]`, c+`,"value":[1,"0.000000000000001"]`),
		vector(a+`,"value":[1,"-0"]`, b+`,"value":[1,"-12.5"]`, c+`,"value":[1,"1e400"]`),
		vector(a+`,"value":[1,"9007199254740993"]`, b+`,"value":[1,"0.30000000000000004"]`, c+`,"value":[1,"+Inf"]`),
		vector(a+`,"value":[1,"\u0031"]`, b+`,"value":[1,"0x10p2"]`, c+`,"value":[1,"007"]`),
		vector(a+`,"value":[1,"5."]`, b+`,"value":[1,".5"]`, c+`,"value":[1,"0.`+strings.Repeat("3", 60)+`"]`),
		vector(a+`,"values":[[1,"0.5"],[2,"NaN"],[3,"-Inf"]]`, b+`,"values":[[1,"1"],[2,"2"],]`),
		vector(a + `,"value":[1,"1.2.3"]`), // refused, as all that follow
		vector(a + `,"value":[1,"."]`),
		vector(a + `,"value":[1," 1"]`),
		vector(a + `,"value":[1,"1:"]`),
		vector(a + `,"value":[1,"1/"]`),
		vector(a + `,"value":[1,"12345678:"]`),
		vector(a + `,"value":[1,"1\"]`),
		vector(a+`,"value":[1,"2"]`, ``) + `,`,
		strings.Replace(vector(a+`,"value":[1,"2"]`, b+`,"value":[1,"2"]`), "},{", "}{", 1),
		strings.Replace(vector(a+`,"value":[1,"2"]`, b+`,"value":[1,"2"]`), "},{", "},,{", 1),
	}
	var known memo
	for round := range 3 {
		for i, body := range bodies {
			// Byte by byte nothing is read at one go, so nothing is ever remembered or recalled.
			want, refused := decode(iotest.OneByteReader(strings.NewReader(body)))
			got, err := known.decode(strings.NewReader(body))
			if (err == nil) != (refused == nil) || err != nil && err.Error() != refused.Error() {
				t.Errorf("round %d, answer %d: %v, want %v", round, i, err, refused)
				continue
			}
			if err == nil && !reflect.DeepEqual(plainly(got), plainly(want)) {
				t.Errorf("round %d, answer %d:\n%v\nwant\n%v", round, i, plainly(got), plainly(want))
			}
		}
	}
	if got := known.expected([]byte(`{` + a + `,"value":[1,"2"]}`)); got == 0 {
		t.Error("the first series is not known: nothing is proved")
	}
}

// A series is known though the buffer ends within it, and however the bytes arrive they say the same.
func TestMemoAcrossReads(t *testing.T) {
	const n = 2000 // some three buffers
	results := make([]string, n)
	for i := range results {
		results[i] = fmt.Sprintf(`"metric":{"__name__":"hits","instance":"10.0.%d.%d:8080"},"value":[1772323230.123,"%d.5"]`, i/256, i%256, i)
	}
	body := vector(results...)
	var known memo
	first, err := known.decode(strings.NewReader(body))
	if err != nil || len(first.series) != n || first.series[n-1].floats[0].V != n-0.5 {
		t.Fatal(err)
	}
	want := plainly(first)
	if len(known.metrics) != n {
		t.Errorf("%d of %d series are known", len(known.metrics), n)
	}
	for _, size := range []int{7, 100, 1000, 2047, 2048, 2049, 5000, 64<<10 - 1} {
		got, err := known.decode(&pieces{strings.NewReader(body), size})
		if err != nil || !reflect.DeepEqual(plainly(got), want) {
			t.Errorf("in pieces of %d bytes: another answer, or %v", size, err)
		}
	}
	if len(known.metrics) != n {
		t.Errorf("%d of %d series are known", len(known.metrics), n)
	}

	// A connection that breaks after the last byte is no end, and what is wrong before it comes first.
	broken := errors.New("broken")
	for text, want := range map[string]string{body: "broken", body[:len(body)-2] + "x": `the answer has 'x' where ',' or '}' belongs`} {
		if _, err := known.decode(io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken))); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// pieces reads so many bytes at a time.
type pieces struct {
	r    io.Reader
	size int
}

func (p *pieces) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), p.size)]) }

// The law: a number is what strconv makes of it, to the bit, or it is left to others.
func FuzzNumber(f *testing.F) {
	for _, seed := range []string{
		"0", "7", "12345678", "123456789", "123456789012345", "1234567890123456", "12345678901234567", "9007199254740993",
		"0.1", "0.30000000000000004", "1234567.89012345", "99999999.9999999", "0.00000000000001", "1.", ".1", "1.2.3",
		"-0", "-1.5", "+1", "1e3", "1e400", "NaN", "+Inf", "0x10p2", "1_000", "1\\", "1:", "12345678/", "1234567\xff", "",
	} {
		f.Add(seed, "]}")
		f.Add(seed, "],[1772323260.123,")
	}
	f.Fuzz(func(t *testing.T, text, rest string) {
		v, width := number([]byte(text + `"` + rest))
		if width == 0 {
			// Only what needs another look may be left: digits, and digits around a point, are read.
			whole, part, dot := strings.Cut(text, ".")
			plain := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
			if len(text) <= 15 && plain(whole) && (!dot || plain(part)) {
				t.Errorf("%q is not read", text)
			}
			return
		}
		if i := strings.IndexByte(text, '"'); i >= 0 {
			text = text[:i]
		}
		want, err := strconv.ParseFloat(text, 64)
		if err != nil || width != len(text) || math.Float64bits(v) != math.Float64bits(want) {
			t.Errorf("%q is read as %v, %d wide; want %v, %v", text, v, width, want, err)
		}
	})
}

// plainly is an answer as text: NaN equals itself there.
func plainly(a *answer) []string {
	out := []string{fmt.Sprint(a.status, a.kind, a.samples)}
	for _, s := range a.series {
		out = append(out, fmt.Sprint(s.labels, len(s.floats), s.floats, s.hists))
	}
	return out
}

// Series that share memory do not write into one another.
func TestSeriesDoNotShare(t *testing.T) {
	body := vector(`"metric":{"a":"1"},"value":[1,"2"]`, `"metric":{"a":"2"},"value":[1,"3"]`)
	var known memo
	for range 2 {
		got, err := known.decode(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = append(got.series[0].floats, got.series[0].floats[0])
		if got.series[1].floats[0].V != 3 {
			t.Fatalf("appending to one series changed another: %v", got.series[1].floats)
		}
	}
}

// The list that an answer is read into serves the next one only when it was given back, and what was
// taken from it stays.
func TestLists(t *testing.T) {
	// It answers with the moment that it is asked for.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("query") == "few" {
			_, _ = fmt.Fprint(w, vector(`"metric":{"pod":"c"},"value":[1,"3"]`))
			return
		}
		n, err := strconv.ParseFloat(r.FormValue("time"), 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = fmt.Fprint(w, strings.Replace(vector(
			fmt.Sprintf(`"metric":{"__name__":"hits_total","pod":"a"},"values":[[1772323230.123,"%g"]]`, n),
			fmt.Sprintf(`"metric":{"__name__":"hits_total","pod":"b"},"values":[[1772323230.123,"%g"]]`, 10*n),
			strings.Join(slices.Repeat([]string{`"metric":{"pod":"d"},"value":[1,"4"]`}, 10), "},{"),
		), "vector", "matrix", 1))
	}))
	defer server.Close()
	s := newSource(t, server.URL, func(o *Options) { o.Config.RemoteRead = remoteNever }, counters("hits", `hits_total`, `hits_total{code="500"}`))
	r := s.plan(s.questions)[0].requests[0]
	said := func(all []series, n float64) {
		t.Helper()
		if len(all) != 12 || all[0].floats[0].V != n || all[1].floats[0].V != 10*n || all[0].labels.Get("pod") != "a" || all[1].labels.Get("pod") != "b" {
			t.Errorf("%v, want what the answer %g said", all, n)
		}
	}
	var kept [][]series
	for n := range int64(3) {
		all, err := s.samples(t.Context(), time.Time{}, r, 0, 1000*(n+1), nil)
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, all)
	}
	for i, all := range kept {
		said(all, float64(i+1))
	}

	one, err := s.client.lent(t.Context(), time.Time{}, "x", 4000)
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.client.lent(t.Context(), time.Time{}, "x", 5000)
	if err != nil {
		t.Fatal(err)
	}
	own, err := s.client.instant(t.Context(), time.Time{}, "x", 6000)
	if err != nil {
		t.Fatal(err)
	}
	said(one.series, 4)
	said(other.series, 5)
	list := &one.series[0]
	s.client.done(one)
	if !reflect.DeepEqual(*list, series{}) {
		t.Errorf("the list that was given back still holds %v", *list)
	}
	few, err := s.client.instant(t.Context(), time.Time{}, "few", 1000) // leaves the long list where it is
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.client.lent(t.Context(), time.Time{}, "x", 7000)
	if err != nil {
		t.Fatal(err)
	}
	if &again.series[0] != list {
		t.Error("the list that was given back is not used again")
	}
	said(again.series, 7)
	said(own.series, 6)
	if len(few.series) != 1 || few.series[0].floats[0].V != 3 || few.series[0].labels.Get("pod") != "c" {
		t.Errorf("%v, want one series that says 3", few.series)
	}
	said(other.series, 5)
}

// So many series that they are forgotten now and then: what is said stays the same.
func TestMemoIsBounded(t *testing.T) {
	var known memo
	long := strings.Repeat("x", 1<<20)
	for i := range 3 * maxMemo / len(long) {
		body := vector(fmt.Sprintf(`"metric":{"a":"%d","b":%q},"value":[1,"%d"]`, i, long, i))
		got, err := known.decode(strings.NewReader(body))
		if err != nil || len(got.series) != 1 || got.series[0].floats[0].V != float64(i) {
			t.Fatal(i, err)
		}
		known.buf = make([]byte, 2<<20) // large enough to read one at one go
		if len(known.texts) > maxMemo {
			t.Fatalf("%d bytes are remembered", len(known.texts))
		}
	}
	if len(known.metrics) == 0 {
		t.Error("nothing was ever remembered")
	}
}
