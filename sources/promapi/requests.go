package promapi

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/yoyu-sre/yoyu/internal/selectors"
)

// request is one selector whose samples answer one or more questions, or parts of them.
type request struct {
	sel     selectors.Selector
	key     string   // canonical text of sel
	members []member // what it was put together from; one when nothing was merged
}

// member is one selector of a question (or of several that want the same), alone.
type member struct {
	sel    selectors.Selector
	asking []*question
}

// bundle is a set of requests that must be answered together: they share a question.
type bundle struct {
	requests  []*request
	questions []*question
}

// The bounds of one merged request: a longer query may be refused by a proxy, and a wider one is
// more to ask again when it fails.
const (
	maxAlternatives = 50
	maxPattern      = 4 << 10 // bytes
	maxSubset       = 8       // matchers of a selector whose subsets are looked up
)

// bundles plans the requests for the questions: what one selector's answer holds is not asked
// again by a narrower one, and selectors that differ in the value of one label are asked as one.
func bundles(questions []*question) []*bundle {
	// The same selector is asked once.
	leaves := map[string]*request{}
	for _, q := range questions {
		for _, sel := range q.needs() {
			key := canonical(sel.Matchers)
			r := leaves[key]
			if r == nil {
				r = &request{sel: sel, key: key, members: []member{{sel: sel}}}
				leaves[key] = r
			}
			if m := &r.members[0]; !slices.Contains(m.asking, q) {
				m.asking = append(m.asking, q)
			}
		}
	}

	requests := merged(contained(leaves))

	// Requests that share a question go together.
	var out []*bundle
	home := map[*question]*bundle{}
	for _, r := range requests {
		var b *bundle
		for _, m := range r.members {
			for _, q := range m.asking {
				switch other := home[q]; {
				case other == nil || other == b:
				case b == nil:
					b = other
				default: // r joins two bundles
					b.requests = append(b.requests, other.requests...)
					b.questions = append(b.questions, other.questions...)
					for _, q := range other.questions {
						home[q] = b
					}
					out = slices.DeleteFunc(out, func(o *bundle) bool { return o == other })
				}
			}
		}
		if b == nil {
			b = &bundle{}
			out = append(out, b)
		}
		b.requests = append(b.requests, r)
		for _, m := range r.members {
			for _, q := range m.asking {
				if home[q] == nil {
					home[q] = b
					b.questions = append(b.questions, q)
				}
			}
		}
	}
	return out
}

// contained drops every selector whose series another one, with fewer of the same matchers, also
// chooses; its questions are answered from there.
func contained(leaves map[string]*request) []*request {
	order := slices.SortedFunc(maps.Values(leaves), func(a, b *request) int {
		return cmp.Or(cmp.Compare(len(a.sel.Matchers), len(b.sel.Matchers)), strings.Compare(a.key, b.key))
	})
	roots := map[string]*request{}
	var out []*request
	for _, r := range order {
		if wider := widerIn(roots, r.sel.Matchers); wider != nil {
			m := &wider.members[0]
			for _, q := range r.members[0].asking {
				if !slices.Contains(m.asking, q) {
					m.asking = append(m.asking, q)
				}
			}
			continue
		}
		roots[r.key] = r
		out = append(out, r)
	}
	return out
}

func widerIn(roots map[string]*request, matchers []*labels.Matcher) *request {
	n := len(matchers)
	if n > maxSubset {
		return nil
	}
	subset := make([]*labels.Matcher, 0, n)
	for bits := 1; bits < 1<<n-1; bits++ {
		subset = subset[:0]
		for i, m := range matchers {
			if bits&(1<<i) != 0 {
				subset = append(subset, m)
			}
		}
		if r := roots[canonical(subset)]; r != nil {
			return r
		}
	}
	return nil
}

// merged joins requests that differ in the value of one equality matcher, again and again, the
// largest families first.
func merged(requests []*request) []*request {
	type family struct {
		sig, label string
		members    []*request
	}
	for {
		families := map[string]*family{}
		for _, r := range requests {
			for i, m := range r.sel.Matchers {
				if m.Type != labels.MatchEqual || m.Value == "" {
					continue
				}
				rest := slices.Concat(r.sel.Matchers[:i], r.sel.Matchers[i+1:])
				if len(rest) == 0 && m.Name != model.MetricNameLabel {
					continue // the label alone says too little about what is chosen
				}
				sig := m.Name + "\xff" + canonical(rest)
				f := families[sig]
				if f == nil {
					f = &family{sig: sig, label: m.Name}
					families[sig] = f
				}
				f.members = append(f.members, r)
			}
		}
		order := slices.SortedFunc(maps.Values(families), func(a, b *family) int {
			return cmp.Or(cmp.Compare(len(b.members), len(a.members)), strings.Compare(a.sig, b.sig))
		})
		gone := map[*request]bool{}
		var joined []*request
		for _, f := range order {
			members := slices.DeleteFunc(slices.Clone(f.members), func(r *request) bool { return gone[r] })
			for len(members) > 1 {
				one, n := join(f.label, members)
				if n < 2 {
					members = members[1:]
					continue
				}
				for _, r := range members[:n] {
					gone[r] = true
				}
				joined, members = append(joined, one), members[n:]
			}
		}
		if len(joined) == 0 {
			return requests
		}
		requests = slices.DeleteFunc(requests, func(r *request) bool { return gone[r] })
		requests = append(requests, joined...)
		slices.SortFunc(requests, func(a, b *request) int { return strings.Compare(a.key, b.key) })
	}
}

// join makes one request of as many as fit, which differ in the value of one label only.
func join(label string, parts []*request) (*request, int) {
	var values []string
	one := &request{}
	size, n := 0, 0
	for _, r := range parts {
		i := slices.IndexFunc(r.sel.Matchers, func(m *labels.Matcher) bool {
			return m.Name == label && m.Type == labels.MatchEqual
		})
		value := regexp.QuoteMeta(r.sel.Matchers[i].Value)
		if n == maxAlternatives || size+len(value) > maxPattern || len(one.members)+len(r.members) > 2*maxAlternatives {
			break
		}
		if n == 0 {
			one.sel = selectors.Selector{Name: r.sel.Name, Matchers: slices.Concat(r.sel.Matchers[:i], r.sel.Matchers[i+1:])}
		}
		values = append(values, value)
		size += len(value) + 1
		one.members = append(one.members, r.members...)
		n++
	}
	if n < 2 {
		return nil, n
	}
	if label == model.MetricNameLabel {
		one.sel.Name = ""
	}
	matcher, err := labels.NewMatcher(labels.MatchRegexp, label, strings.Join(values, "|"))
	if err != nil {
		return nil, 0 // a value that no pattern can hold is asked alone
	}
	one.sel = one.sel.With(matcher)
	one.key = canonical(one.sel.Matchers)
	return one, n
}

// oneOf is the matcher that lets these values of a label through. An empty value stands for a
// series that does not carry the label.
func oneOf(label string, values []string) *labels.Matcher {
	if len(values) == 1 {
		return labels.MustNewMatcher(labels.MatchEqual, label, values[0])
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = regexp.QuoteMeta(v)
	}
	return labels.MustNewMatcher(labels.MatchRegexp, label, strings.Join(quoted, "|"))
}

// canonical is the same text for the same set of matchers.
func canonical(matchers []*labels.Matcher) string {
	texts := make([]string, len(matchers))
	for i, m := range matchers {
		texts[i] = m.String()
	}
	slices.Sort(texts)
	return strings.Join(slices.Compact(texts), ",")
}
