package datadog

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"io"
	"math"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The limits of the intakes, in bytes, on the wire and inflated. Version 2 refuses the very number
// on the wire, and takes it inflated.
const (
	wireV2     = 512_000
	inflatedV2 = 5_242_880
	wireV1     = 3_200_000
	inflatedV1 = 62_000_000

	maxName    = 350 // of a metric, in bytes: what is longer is lost
	maxTag     = 200 // of a tag, in bytes: the rest is cut off
	maxTags    = 100 // of a series
	maxTagset  = 100 << 10
	maxHost    = 255
	maxSources = 500 // resources of a series

	maxFuture = 10 * time.Minute
	maxPast   = time.Hour
)

// inflate undoes a Content-Encoding. One that it does not know is taken for none, as the real
// intake does, so the body usually makes no sense.
func inflate(encoding string, wire []byte) (text []byte, broken string) {
	var in io.Reader
	var err error
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "gzip":
		in, err = gzip.NewReader(bytes.NewReader(wire))
	case "deflate":
		in, err = zlib.NewReader(bytes.NewReader(wire))
	default:
		return wire, ""
	}
	if err != nil {
		return nil, err.Error()
	}
	text, err = io.ReadAll(io.LimitReader(in, inflatedV1+1))
	if err != nil {
		return nil, err.Error()
	}
	return text, ""
}

// admit makes the checks of an intake in the order in which the real one does: the key came
// before; false when it has answered.
func (c *call) admit(wire, inflated int, types ...string) bool {
	kind, _, _ := mime.ParseMediaType(c.Header.Get("Content-Type")) // what cannot be read is none of them
	switch {
	case !slices.Contains(types, kind):
		c.fail(http.StatusBadRequest, "Unsupported content type")
	case c.wire >= wire, len(c.text) > inflated:
		c.answer.set(http.StatusRequestEntityTooLarge, "application/json", balancer(http.StatusRequestEntityTooLarge))
	case c.broken != "":
		c.fail(http.StatusBadRequest, "request data could not be decompressed")
	case c.ContentLength >= 0 && int(c.ContentLength) != c.wire:
		c.fail(http.StatusBadRequest, "request data is shorter than its length")
	default:
		return true
	}
	return false
}

// submitted is a series as it came, of either version.
type submitted struct {
	name     string
	kind     Type
	known    bool // the type is one
	interval int64
	host     string
	tags     []string
	sources  int // resources
	points   []Point
	nulls    int // points without a number
	unknown  bool
}

func (d *Datadog) seriesV1(c *call) {
	if !c.admit(wireV1, inflatedV1, "application/json", "text/json") {
		return
	}
	var payload struct {
		Series []json.RawMessage `json:"series"`
	}
	if !isObject(c.text) || json.Unmarshal(c.text, &payload) != nil {
		c.fail(http.StatusBadRequest, "request data must be valid JSON")
		return
	}
	all := make([]submitted, 0, len(payload.Series))
	for _, text := range payload.Series {
		var one struct {
			Metric   string        `json:"metric"`
			Type     *string       `json:"type"`
			Interval *int64        `json:"interval"`
			Host     string        `json:"host"`
			Device   string        `json:"device"`
			Tags     []string      `json:"tags"`
			Points   [][2]*float64 `json:"points"`
			Source   string        `json:"source_type_name"`
		}
		if err := json.Unmarshal(text, &one); err != nil {
			c.fail(http.StatusBadRequest, "request data must be valid JSON")
			return
		}
		s := submitted{name: one.Metric, host: one.Host, tags: one.Tags, known: true, unknown: d.strays(text, &one)}
		if one.Type != nil {
			s.kind, s.known = typesV1[*one.Type], slices.Contains([]string{"gauge", "count", "rate"}, *one.Type)
		}
		if one.Interval != nil {
			s.interval = *one.Interval
		}
		for _, p := range one.Points {
			if p[0] == nil || p[1] == nil {
				s.nulls++
				continue
			}
			s.points = append(s.points, Point{At: time.Unix(int64(*p[0]), 0).UTC(), Value: *p[1]})
		}
		all = append(all, s)
	}
	for _, s := range all {
		d.take(s)
	}
	c.answer.set(http.StatusAccepted, "text/json", `{"status": "ok"}`)
}

var typesV1 = map[string]Type{"gauge": Gauge, "count": Count, "rate": Rate}

func (d *Datadog) seriesV2(c *call) {
	if !c.admit(wireV2, inflatedV2, "application/json") {
		return
	}
	var payload struct {
		Series []json.RawMessage `json:"series"`
	}
	if !isObject(c.text) || json.Unmarshal(c.text, &payload) != nil {
		c.fail(http.StatusBadRequest, "request data must be valid JSON")
		return
	}
	all := make([]submitted, 0, len(payload.Series))
	for _, text := range payload.Series {
		var one struct {
			Metric   string   `json:"metric"`
			Type     int      `json:"type"`
			Interval int64    `json:"interval"`
			Unit     string   `json:"unit"`
			Source   string   `json:"source_type_name"`
			Tags     []string `json:"tags"`
			Points   []struct {
				Timestamp int64    `json:"timestamp"`
				Value     *float64 `json:"value"`
			} `json:"points"`
			Resources []struct {
				Type string `json:"type"`
				Name string `json:"name"`
			} `json:"resources"`
			Metadata json.RawMessage `json:"metadata"`
		}
		if err := json.Unmarshal(text, &one); err != nil {
			c.fail(http.StatusBadRequest, "request data must be valid JSON")
			return
		}
		s := submitted{
			name: one.Metric, interval: one.Interval, sources: len(one.Resources),
			known: one.Type >= 0 && one.Type <= 3, unknown: d.strays(text, &one),
		}
		if s.known {
			s.kind = []Type{Gauge, Count, Rate, Gauge}[one.Type]
		}
		for _, r := range one.Resources {
			if r.Type == "host" {
				s.host = r.Name
			}
		}
		for _, tag := range one.Tags {
			if strings.HasPrefix(tag, "device:") || strings.HasPrefix(tag, "dd.internal.resource:") {
				d.drops["tag_reserved"]++ // those are resources here
				continue
			}
			s.tags = append(s.tags, tag)
		}
		for _, p := range one.Points {
			if p.Value == nil {
				s.nulls++
				continue
			}
			s.points = append(s.points, Point{At: time.Unix(p.Timestamp, 0).UTC(), Value: *p.Value})
		}
		all = append(all, s)
	}
	for _, s := range all {
		d.take(s)
	}
	c.json(http.StatusAccepted, map[string]any{"errors": []string{}})
}

// isObject reports whether the text is one JSON object.
func isObject(text []byte) bool {
	text = bytes.TrimSpace(text)
	return len(text) > 0 && text[0] == '{' && json.Valid(text)
}

// strays reports whether a series has fields that the intake does not know.
func (d *Datadog) strays(text []byte, into any) bool {
	if !d.options.Strict {
		return false
	}
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	return in.Decode(into) != nil
}

// take stores a series, or silently does not: the answer has been decided before.
func (d *Datadog) take(s submitted) {
	lose := func(reason string) { d.drops[reason] += max(1, len(s.points)) }
	if s.nulls > 0 {
		d.drops["nan"] += s.nulls
	}
	size := 0
	for _, tag := range s.tags {
		size += len(tag)
	}
	switch {
	case s.unknown:
		lose("unknown_field")
		return
	case s.name == "":
		lose("name_empty")
		return
	case !strings.ContainsFunc(s.name, letter):
		lose("name_no_alpha")
		return
	case len(s.name) > maxName:
		lose("name_too_long")
		return
	case !s.known:
		lose("bad_type")
		return
	case len(s.tags) > maxTags:
		lose("too_many_tags")
		return
	case size > maxTagset:
		lose("tagset_too_large")
		return
	case len(s.host) > maxHost, s.sources > maxSources:
		lose("bad_resource")
		return
	}
	tags := make([]string, 0, len(s.tags))
	for _, tag := range s.tags {
		if len(tag) > maxTag {
			d.drops["tag_clipped"]++
		}
		if stored := storedTag(tag); stored != "" {
			tags = append(tags, stored)
		}
	}
	slices.Sort(tags)
	tags = slices.Compact(tags)
	now := d.time()
	kept := s.points[:0]
	for _, p := range s.points {
		switch {
		case math.IsNaN(p.Value) || math.IsInf(p.Value, 0):
			d.drops["nan"]++
		case p.At.After(now.Add(maxFuture)):
			d.drops["ts_future"]++
		case p.At.Before(now.Add(-maxPast)):
			d.drops["ts_past"]++
		default:
			p.Visible = now.Add(d.options.Visible)
			kept = append(kept, p)
		}
	}
	if len(kept) > 0 {
		d.store.put(Metric{Name: storedName(s.name), Type: s.kind, Interval: s.interval, Tags: tags, Host: s.host}, kept)
	}
}

func letter(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }

// storedName is a metric's name as it is stored: it begins with a letter, and what is none of
// letters, digits, underscore and dot in ASCII is an underscore.
func storedName(name string) string {
	name = strings.TrimLeftFunc(name, func(r rune) bool { return !letter(r) })
	return strings.Map(func(r rune) rune {
		if letter(r) || '0' <= r && r <= '9' || r == '_' || r == '.' {
			return r
		}
		return '_'
	}, name)
}

// storedTag is a tag as it is stored, "" when nothing of it is left.
func storedTag(tag string) string {
	tag = strings.TrimSpace(tag)
	if len(tag) > maxTag {
		cut := maxTag
		for cut > 0 && !utf8.RuneStart(tag[cut]) {
			cut--
		}
		tag = tag[:cut]
	}
	tag = strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		if r != utf8.RuneError && strings.ContainsRune("_-:./", r) {
			return r
		}
		return '_'
	}, tag)
	tag = strings.TrimLeftFunc(tag, func(r rune) bool { return !unicode.IsLetter(r) })
	return strings.TrimRight(tag, ":")
}
