package app

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/slo"
)

// Whatever a released yoyu read, answered and kept, this one reads, answers and opens.
func TestCompatibility(t *testing.T) {
	versions, err := filepath.Glob("../../testdata/compatibility/*.*")
	if err != nil || len(versions) == 0 {
		t.Fatalf("no versions, error %v", err)
	}
	for _, version := range versions {
		if info, err := os.Stat(version); err != nil || !info.IsDir() {
			continue
		}
		t.Run(filepath.Base(version)+"/config", func(t *testing.T) {
			files, err := filepath.Glob(filepath.Join(version, "config/*.yaml"))
			if err != nil || len(files) == 0 {
				t.Fatalf("no configurations, error %v", err)
			}
			for _, file := range files {
				var out bytes.Buffer
				if code := Main(t.Context(), []string{"check", file}, &out, &out); code != exitOK {
					t.Errorf("%s: exit %d\n%s", file, code, out.String())
				}
			}
		})
		t.Run(filepath.Base(version)+"/json", func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(version, "json/backtest.json"))
			if err != nil {
				t.Fatal(err)
			}
			var out, errs bytes.Buffer
			if code := Main(t.Context(), []string{
				"backtest", "--config.file=" + filepath.Join(version, "json/config.yaml"), "--data=../../testdata/conformance/burst/traffic.om.gz",
				"--at=2026-01-01T06:00:00Z", "--at=2026-01-04T00:00:00Z", "-o", "json",
			}, &out, &errs); code != exitOK {
				t.Fatalf("exit %d\n%s", code, errs.String())
			}
			var then, now any
			if err := json.Unmarshal(text, &then); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(out.Bytes(), &now); err != nil {
				t.Fatal(err)
			}
			for _, what := range missing("", then, now) {
				t.Error(what)
			}
		})
		t.Run(filepath.Base(version)+"/state", func(t *testing.T) {
			folder := filepath.Join(version, "state")
			c, err := config.Load(filepath.Join(folder, "config.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			var holds struct {
				Groups     []string
				Total, Bad float64
				From, To   time.Time
			}
			text, err := os.ReadFile(filepath.Join(folder, "holds.json"))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, &holds); err != nil || holds.Total == 0 {
				t.Fatalf("%+v, error %v", holds, err)
			}
			dir := t.TempDir()
			if err := unpack(filepath.Join(folder, "yoyu.db.gz"), filepath.Join(dir, stateFile)); err != nil {
				t.Fatal(err)
			}
			engine, err := newEngine(c)
			if err != nil {
				t.Fatal(err)
			}
			kept := newState(dir, slogDiscard)
			if _, err := kept.open(engine, false); err != nil {
				t.Fatal(err)
			}
			defer kept.close()
			total, bad := 0.0, 0.0
			for _, group := range holds.Groups {
				t, b := engine.Count(c.Objectives[0].Name, []string{group}, slo.Span{From: holds.From, To: holds.To})
				total, bad = total+t, bad+b
			}
			if total != holds.Total || bad != holds.Bad {
				t.Errorf("holds %g bad of %g, want %g of %g", bad, total, holds.Bad, holds.Total)
			}
		})
	}
}

// missing are the places at which now lacks what then had, or has another value.
func missing(path string, then, now any) (out []string) {
	switch then := then.(type) {
	case map[string]any:
		object, ok := now.(map[string]any)
		if !ok {
			return []string{path + ": is no object any more"}
		}
		for key, value := range then {
			if _, ok := object[key]; !ok {
				out = append(out, path+"."+key+": is gone")
				continue
			}
			out = append(out, missing(path+"."+key, value, object[key])...)
		}
	case []any:
		list, ok := now.([]any)
		if !ok || len(list) != len(then) {
			return []string{path + ": is no list of that length any more"}
		}
		for i := range then {
			out = append(out, missing(fmt.Sprintf("%s[%d]", path, i), then[i], list[i])...)
		}
	default:
		if !reflect.DeepEqual(then, now) {
			return []string{fmt.Sprintf("%s: was %v, is %v", path, then, now)}
		}
	}
	return out
}

func unpack(from, to string) error {
	packed, err := os.Open(from)
	if err != nil {
		return err
	}
	defer packed.Close()
	r, err := gzip.NewReader(packed)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}
