package promapi

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func TestDecode(t *testing.T) {
	body := ` {"status" : "success","data":{"result":[
		{"metric":{"__name__":"a","q":"say \"hi\"\n\u00e9\ud83d\ude00\/"},"values":[[1.001,"1"],[1772323230.5,"NaN"],[1772323230.51,"+Inf"],[1772323231e0,"1e3"]]},
		{"metric":{},"value":[-1.5,"-0.25"]},
		{"metric":{"__name__":"h"},"histograms":[[3,{"count":"7","sum":"1.5","buckets":[[3,"-0.5","0.5","3"],[0,"1","2","4"]]}]]}
	],"resultType":"matrix"},"warnings":[],"infos":null}` + "\n"
	// However the bytes arrive.
	for name, a := range map[string]func() (*answer, error){
		"at once":      func() (*answer, error) { return decode(strings.NewReader(body)) },
		"byte by byte": func() (*answer, error) { return decode(iotest.OneByteReader(strings.NewReader(body))) },
		"data and EOF": func() (*answer, error) { return decode(iotest.DataErrReader(strings.NewReader(body))) },
	} {
		got, err := a()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.kind != "matrix" || got.warning != "" || len(got.series) != 3 || got.samples != 8 {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		first := got.series[0]
		if v := first.labels.Get("q"); v != "say \"hi\"\né😀/" {
			t.Errorf("%s: label %q", name, v)
		}
		for i, want := range []int64{1001, 1772323230500, 1772323230510, 1772323231000} {
			if first.floats[i].T != want {
				t.Errorf("%s: time %d, want %d", name, first.floats[i].T, want)
			}
		}
		if v := first.floats; v[0].V != 1 || !math.IsNaN(v[1].V) || !math.IsInf(v[2].V, 1) || v[3].V != 1000 {
			t.Errorf("%s: values %v", name, v)
		}
		if p := got.series[1].floats[0]; p.T != -1500 || p.V != -0.25 {
			t.Errorf("%s: %v", name, p)
		}
		h := got.series[2].hists[0]
		if h.t != 3000 || h.count != 7 || len(h.buckets) != 2 || h.buckets[0].Lower != -0.5 || h.buckets[1].Count != 4 {
			t.Errorf("%s: %+v", name, h)
		}
	}
	// Cut anywhere it is no answer.
	whole := strings.TrimSpace(body)
	for i := range whole {
		if a, err := decode(strings.NewReader(whole[:i])); err == nil {
			t.Fatalf("cut after %d bytes it answers %+v", i, a)
		}
	}
}

// The law: whatever arrives is refused, or its samples are there in ascending order.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		healthy,
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"le":"0.5"},"value":[1772323230.123,"5"]}]}}`,
		`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"h"},"histograms":[[1,{"count":"2","sum":"3","buckets":[[0,"1","2","2"]]}]]}]}}`,
		`{"status":"success","data":["1","1.0","+Inf"]}`,
		`{"status":"error","errorType":"execution","error":"query timed out"}`,
		`{"status":"success","isPartial":true,"data":{"resultType":"scalar","result":[1,"2"]}}`,
		`{"status":"success","warnings":["x"],"data":{"resultType":"matrix","result":[{"metric":{"a":"\ud83d\ude00"},"values":[[2,"1"],[1,"2"]]}]}}`,
		`<html>`, ``, `{}`, `[`, `{"data":{"result":[{"values":[[1e300,"1"]]}]}}`, `{"status":"success","x":[[[[[[[[[[`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := decode(strings.NewReader(string(body)))
		b, again := decode(iotest.OneByteReader(strings.NewReader(string(body))))
		if (err == nil) != (again == nil) {
			t.Fatalf("at once %v, byte by byte %v", err, again)
		}
		var known memo
		for range 2 { // what the first reading taught changes nothing of the second
			c, remembered := known.decode(strings.NewReader(string(body)))
			if (err == nil) != (remembered == nil) || err == nil && !reflect.DeepEqual(plainly(a), plainly(c)) {
				t.Fatalf("with a memory: %v, without: %v", remembered, err)
			}
		}
		if err != nil {
			return
		}
		if len(a.series) != len(b.series) || a.samples != b.samples {
			t.Fatalf("at once %d series, byte by byte %d", len(a.series), len(b.series))
		}
		for _, one := range a.series {
			for i := 1; i < len(one.floats); i++ {
				if one.floats[i].T < one.floats[i-1].T {
					t.Fatal("floats out of order")
				}
			}
			for i := 1; i < len(one.hists); i++ {
				if one.hists[i].t < one.hists[i-1].t {
					t.Fatal("histograms out of order")
				}
			}
		}
	})
}
