package web

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// selection is what the parameters of an address ask for: slo, service, and group_by labels. A
// parameter that is repeated asks for any of its values.
type selection struct {
	slos, services []string
	groups         url.Values
}

// refusal is a request that cannot be answered, with the status that says so.
type refusal struct {
	status int
	reason string
}

func (r *refusal) Error() string { return r.reason }

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// selectionOf reads the parameters but those in except, which mean something else at this address.
func selectionOf(query url.Values, except ...string) selection {
	sel := selection{groups: url.Values{}}
	for name, values := range query {
		switch {
		case slices.Contains(except, name):
		case name == "slo":
			sel.slos = values
		case name == "service":
			sel.services = values
		default:
			sel.groups[name] = values
		}
	}
	return sel
}

// from picks what was asked for. A name that is nowhere in the report is refused, with the nearest
// that is: an empty answer would look like good news.
func (sel selection) from(r *sinks.Report) ([]slo.Status, *refusal) {
	var slos, services, labels []string
	for i := range r.SLOs {
		o := r.SLOs[i].Objective
		if i > 0 && o == r.SLOs[i-1].Objective {
			continue // another group of the same
		}
		slos, services = append(slos, o.Name), append(services, o.Service)
		if len(sel.slos) == 0 || slices.Contains(sel.slos, o.Name) {
			labels = append(labels, o.GroupBy...)
		}
	}
	for _, name := range sel.slos {
		if !slices.Contains(slos, name) {
			return nil, refuse(http.StatusNotFound, "slo %q: unknown%s", name, hint(name, slos))
		}
	}
	for _, name := range sel.services {
		if !slices.Contains(services, name) {
			return nil, refuse(http.StatusNotFound, "service %q: unknown%s", name, hint(name, services))
		}
	}
	for name := range sel.groups {
		if !slices.Contains(labels, name) {
			known := append([]string{"slo", "service"}, labels...)
			return nil, refuse(http.StatusBadRequest, "parameter %q: neither slo, service nor a label to group by%s", name, hint(name, known))
		}
	}

	picked := []slo.Status{}
	for i := range r.SLOs {
		if sel.holds(&r.SLOs[i]) {
			picked = append(picked, r.SLOs[i])
		}
	}
	if len(picked) == 0 && len(sel.groups) > 0 {
		return nil, refuse(http.StatusNotFound, "group %s: unknown", sel.groups.Encode())
	}
	return picked, nil
}

func (sel selection) holds(st *slo.Status) bool {
	o := st.Objective
	if len(sel.slos) > 0 && !slices.Contains(sel.slos, o.Name) ||
		len(sel.services) > 0 && !slices.Contains(sel.services, o.Service) {
		return false
	}
	for name, values := range sel.groups {
		i := slices.Index(o.GroupBy, name)
		if i < 0 || i >= len(st.Labels) || !slices.Contains(values, st.Labels[i]) {
			return false
		}
	}
	return true
}

// groupedBy reports whether an SLO that was asked for by name is grouped by a label.
func (sel selection) groupedBy(r *sinks.Report, label string) bool {
	return slices.ContainsFunc(r.SLOs, func(st slo.Status) bool {
		return slices.Contains(sel.slos, st.Objective.Name) && slices.Contains(st.Objective.GroupBy, label)
	})
}

// hint names the known word that is nearest to one that is not.
func hint(word string, known []string) string {
	best, most := "", 0.4
	for _, k := range known {
		if l := likeness(word, k); l > most {
			best, most = k, l
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// likeness is the share of neighbouring letters that two words have in common, 0 to 1 (the
// coefficient of Sørensen and Dice).
func likeness(a, b string) float64 {
	pairs := func(word string) []string {
		var out []string
		// The edges count as letters, so that words of one letter have pairs too.
		letters := []rune("^" + strings.ToLower(word) + "$")
		for i := range len(letters) - 1 {
			out = append(out, string(letters[i:i+2]))
		}
		return out
	}
	left, right := pairs(a), pairs(b)
	sum, common := len(left)+len(right), 0
	for _, pair := range left {
		if i := slices.Index(right, pair); i >= 0 {
			common++
			right = slices.Delete(right, i, i+1)
		}
	}
	return 2 * float64(common) / float64(sum)
}

// queryOf selects one status alone.
func queryOf(st *slo.Status) string {
	query := "slo=" + url.QueryEscape(st.Objective.Name)
	for i, name := range st.Objective.GroupBy {
		if i < len(st.Labels) {
			query += "&" + url.QueryEscape(name) + "=" + url.QueryEscape(st.Labels[i])
		}
	}
	return query
}
