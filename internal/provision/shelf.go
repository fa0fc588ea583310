package provision

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/yoyu-sre/yoyu/internal/datadogapi"
)

// The mark: what carries it is yoyu's.
const (
	managedTag = "managed_by:yoyu"
	keyTag     = "yoyu_id:"
)

// tagsOf are the tags of the mark for monitors and SLOs.
func tagsOf(key string) []string { return []string{managedTag, keyTag + key} }

// lineOf is the mark at the end of a description, of a dashboard as its last line: dashboards may
// have no tags but those of teams, corrections have none.
func lineOf(key string) string { return managedTag + " " + keyTag + key }

var (
	markLine = regexp.MustCompile(`(?:^|\n)` + managedTag + " " + keyTag + `([a-z0-9._-]+)\s*$`)
	markEnd  = regexp.MustCompile(`(?:^|\s)` + managedTag + " " + keyTag + `([a-z0-9._-]+/[a-z0-9._-]+)\s*$`)
)

// markOf is the key that an object is marked with.
func markOf(kind Kind, body map[string]any) (key string, ok bool) {
	if kind == Dashboard || kind == Correction {
		mark := markLine
		if kind == Correction {
			mark = markEnd
		}
		about, _ := body["description"].(string) // none has no mark
		m := mark.FindStringSubmatch(about)
		if m == nil {
			return "", false
		}
		return m[1], true
	}
	tags, _ := body["tags"].([]any) // none has no mark
	managed := false
	for _, tag := range tags {
		text, _ := tag.(string) // what is no text is no tag
		managed = managed || text == managedTag
		if rest, found := strings.CutPrefix(text, keyTag); found {
			key = rest
		}
	}
	return key, managed && key != ""
}

// path is where the objects of a kind are.
func (k Kind) path() string {
	if k == Correction {
		return "/api/v1/slo/correction"
	}
	return "/api/v1/" + string(k)
}

// envelope is what the API wraps the attributes of a correction in.
func envelope(attributes map[string]any) map[string]any {
	return map[string]any{"data": map[string]any{"type": "correction", "attributes": attributes}}
}

// opened is a correction as every other object comes: its attributes, and its id among them.
func opened(data map[string]any) map[string]any {
	out, _ := data["attributes"].(map[string]any) // one without has a mark as little as an id
	if out == nil {
		out = map[string]any{}
	}
	out["id"] = data["id"]
	return out
}

// item is a marked object in a listing.
type item struct{ id, key string }

// pageSize is how many objects of a listing are asked for at once, and correctionPage how many
// corrections: nobody says how many may be asked for, 25 come unasked.
const (
	pageSize       = 1000
	correctionPage = 100
)

// list finds everything that carries the mark, oldest first; corrections, whose ids know no age, in
// the order of their ids. A listing that cannot be read to its end is an error, never a shorter list.
func (p *Provisioner) list(ctx context.Context, kind Kind) ([]item, error) {
	if kind == Correction {
		return p.listCorrections(ctx)
	}
	var out []item
	seen := map[string]bool{}
	for n, shown := 0, 0; ; n++ {
		page, err := p.page(ctx, kind, n, shown)
		if err != nil {
			return nil, err
		}
		fresh := false
		for _, body := range page {
			id := text(body["id"])
			if id == "" {
				return nil, datadogapi.Failed(string(kind)+"s", "decode", "an object of the listing has no id")
			}
			fresh = fresh || !seen[id]
			if key, ok := markOf(kind, body); ok && !seen[id] {
				out = append(out, item{id, key})
			}
			seen[id] = true
		}
		// The end is an empty page: a server may show fewer at once than it is asked for. One that
		// ignores pages says the same again.
		if !fresh {
			break
		}
		shown += len(page)
	}
	slices.SortFunc(out, func(a, b item) int {
		if kind == Monitor && len(a.id) != len(b.id) {
			return len(a.id) - len(b.id)
		}
		return strings.Compare(a.id, b.id)
	})
	return out, nil
}

// listCorrections is list for corrections. How long a page is the server decides, and how many there
// are it says.
func (p *Provisioner) listCorrections(ctx context.Context) ([]item, error) {
	const what = "corrections"
	var out []item
	seen := map[string]bool{}
	for n := 0; ; {
		var answer struct {
			Data []map[string]any
			Meta struct {
				Page struct {
					Total *int `json:"total_count"`
				}
			}
		}
		query := url.Values{"limit": {strconv.Itoa(correctionPage)}, "offset": {strconv.Itoa(n)}}
		if err := p.call(ctx, what, http.MethodGet, Correction.path(), query, nil, &answer); err != nil {
			return nil, err
		}
		if answer.Data == nil {
			return nil, datadogapi.Failed(what, "decode", "the listing has no data")
		}
		fresh := false
		for _, data := range answer.Data {
			body := opened(data)
			id := text(body["id"])
			if id == "" {
				return nil, datadogapi.Failed(what, "decode", "an object of the listing has no id")
			}
			fresh = fresh || !seen[id]
			if key, ok := markOf(Correction, body); ok && !seen[id] {
				out = append(out, item{id, key})
			}
			seen[id] = true
		}
		n += len(answer.Data)
		total := answer.Meta.Page.Total
		if fresh && (total == nil || len(seen) < *total) {
			continue
		}
		if total != nil && len(seen) < *total {
			return nil, datadogapi.Failed(what, "decode", "the listing shows %d of %d", len(seen), *total)
		}
		slices.SortFunc(out, func(a, b item) int { return strings.Compare(a.id, b.id) })
		return out, nil
	}
}

// page is one page of a listing: the one of that number, after so many objects were shown.
func (p *Provisioner) page(ctx context.Context, kind Kind, n, shown int) ([]map[string]any, error) {
	what, size := string(kind)+"s", strconv.Itoa(pageSize)
	switch kind {
	case Monitor:
		var list []map[string]any
		err := p.call(ctx, what, http.MethodGet, kind.path(), url.Values{"monitor_tags": {managedTag}, "page": {strconv.Itoa(n)}, "page_size": {size}}, nil, &list)
		if err == nil && list == nil {
			err = datadogapi.Failed(what, "decode", "the listing is no list")
		}
		return list, err
	case SLO:
		var answer struct {
			Data []map[string]any `json:"data"`
		}
		err := p.call(ctx, what, http.MethodGet, kind.path(), url.Values{"tags_query": {managedTag}, "limit": {size}, "offset": {strconv.Itoa(shown)}}, nil, &answer)
		if err == nil && answer.Data == nil {
			err = datadogapi.Failed(what, "decode", "the listing has no data")
		}
		return answer.Data, err
	}
	var answer struct {
		Dashboards []map[string]any `json:"dashboards"`
	}
	err := p.call(ctx, what, http.MethodGet, kind.path(), url.Values{"start": {strconv.Itoa(shown)}, "count": {size}}, nil, &answer)
	if err == nil && answer.Dashboards == nil {
		err = datadogapi.Failed(what, "decode", "the listing has no dashboards")
	}
	return answer.Dashboards, err
}

// fetch reads one object.
func (p *Provisioner) fetch(ctx context.Context, kind Kind, id string) (map[string]any, error) {
	var body map[string]any
	if err := p.call(ctx, fmt.Sprintf("%s %s", kind, id), http.MethodGet, kind.path()+"/"+url.PathEscape(id), nil, nil, &body); err != nil {
		return nil, err
	}
	if kind == SLO || kind == Correction {
		body, _ = body["data"].(map[string]any) // checked next
	}
	if kind == Correction {
		body = opened(body)
	}
	if text(body["id"]) != id {
		return nil, datadogapi.Failed(fmt.Sprintf("%s %s", kind, id), "decode", "the answer is about another object")
	}
	return body, nil
}

// idOf is the id in the answer to a creation.
func idOf(kind Kind, answer map[string]any) string {
	if kind == Correction {
		answer, _ = answer["data"].(map[string]any) // none has no id
	}
	if kind == SLO {
		data, _ := answer["data"].([]any) // checked next
		if len(data) != 1 {
			return ""
		}
		answer, _ = data[0].(map[string]any) // one without has no id
	}
	return text(answer["id"])
}

// validate asks Datadog what it thinks of a monitor that is to be written.
func (p *Provisioner) validate(ctx context.Context, s Step) error {
	if s.Kind != Monitor || s.Action != Create && s.Action != Update {
		return nil
	}
	path := s.Kind.path() + "/validate"
	if s.Action == Update {
		path = s.Kind.path() + "/" + s.ID + "/validate"
	}
	return p.call(ctx, s.name()+": validate", http.MethodPost, path, nil, s.Body, nil)
}

// text is an id as text, whether it is a number or text.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}
