package promapi

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
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
