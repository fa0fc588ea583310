package web

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// rightsizingPage is every workload by urgency and money.
type rightsizingPage struct {
	Cluster   bool // there is a source of workloads
	Room      *room
	Verdicts  []tallyOf
	Workloads []workloadView
	Narrow    bool
}

// tallyOf is how many workloads have a verdict.
type tallyOf struct {
	verdictCount
	Link string
	On   bool
}

// workloadView is one workload in words.
type workloadView struct {
	ID                    string
	Namespace, Kind, Name string
	VPA                   string
	Replicas              num
	Services              []serviceState
	Verdict               string // "shrink, blocked"; "" where nothing is decided
	Sign                  state
	Sentence              string
	Money                 num    // a month: what it gives back, or costs
	MoneySign             string // + costs, − gives back; "" for neither
	Gate                  string
	Eligible              time.Time // from when a change that waits may go
	Exposure              num       // of an error budget
	QoS                   string
	Managed               string
	Reasons               []reasonView
	Containers            []containerView
	Patch                 string // JSON, indented
	Command               string // of a shell
}

// reasonView is one reason code with what it is about.
type reasonView struct{ Code, About string }

// containerView is one container.
type containerView struct {
	Name      string
	Resources []resourceView
	Heartbeat time.Time // of the recommender
	OOMKilled time.Time
}

// resourceView is one resource of a container.
type resourceView struct {
	Name, Key                    string // "CPU", "cpu"
	Verdict                      string
	Sign                         state
	Request, Limit               num
	Target, Lower, Upper         num
	Proposed, ProposedLimit      num
	Headroom                     num
	Need                         bool
	P50, P95, Max, Risk          num
	Eligible                     time.Time
	Band                         band
	Usage                        usage
	Reasons                      []string
	HasRecommendation, Different bool
}

// band draws the recommendation beside what is asked for. All lengths are of 100.
type band struct {
	Shown                bool
	Lower, Wide          string // the recommended band
	Target               string
	Request, Limit       string // "" when there is none
	Proposed, NextLimit  string
	End                  string // what the right edge is, in words
	Says                 string
	RequestAt, TargetAt  string // where their words begin
	ProposedAt           string
	RequestEnd, AtTarget bool
}

// usage draws the recommender's histogram. Heights and lengths are of 100.
type usage struct {
	Bars         []usageBar
	Request      string
	Limit        string // the proposed limit; "" without
	End          string // what the right edge is, in words
	Says         string
	LimitBeyond  bool // the limit is right of the drawing
	LimitWords   string
	RequestWords string
}

// usageBar is one bucket.
type usageBar struct{ X, Y, Wide, High string }

func (s *Server) rightsizingPage(w http.ResponseWriter, r *http.Request) {
	b := s.board()
	q := r.URL.Query()
	verdict, service := q.Get("verdict"), q.Get("service")
	s.show(w, r, b, "rightsizing\n"+verdict+"\n"+service+"\n"+s.waiting(), func() (*rendered, error) {
		page := rightsizingPage{Narrow: verdict != "" || service != ""}
		if b.report != nil {
			page.Cluster, page.Room = b.report.Workloads != nil, newRoom(b.report.Workloads)
			page.Workloads = b.workloads(func(services []string) bool { return service == "" || slices.Contains(services, service) })
			if verdict != "" {
				page.Workloads = slices.DeleteFunc(page.Workloads, func(v workloadView) bool {
					return v.Verdict != verdict && !strings.HasPrefix(v.Verdict, verdict+",")
				})
			}
		}
		if page.Room != nil {
			for _, c := range page.Room.Counts {
				link := "rightsizing?verdict=" + c.Verdict
				if c.Verdict == verdict {
					link = "rightsizing"
				}
				page.Verdicts = append(page.Verdicts, tallyOf{c, link, c.Verdict == verdict})
			}
		}
		return s.render(http.StatusOK, "rightsizing", s.screen("rightsizing", "Rightsizing", b, page))
	})
}

// workloads are the views of those whose services keep chooses, the most pressing first.
func (b *board) workloads(keep func(services []string) bool) []workloadView {
	if b.report == nil {
		return nil
	}
	var ranked []*rightsizing.Workload
	for i := range b.report.Workloads {
		if w := &b.report.Workloads[i]; keep(w.Services) {
			ranked = append(ranked, w)
		}
	}
	rightsizing.Rank(ranked)
	var out []workloadView
	for _, w := range ranked {
		out = append(out, b.workload(w))
	}
	return out
}

func (b *board) workload(w *rightsizing.Workload) workloadView {
	v := workloadView{
		ID: "workload-" + digest([]byte(w.Namespace+"\n"+w.Kind+"\n"+w.Name+"\n"+w.VPA)), Namespace: oneLine(w.Namespace), Kind: oneLine(w.Kind), Name: oneLine(w.Name),
		VPA: sinks.Undefined, Replicas: newNum(w.Mean(), "rightsizing_replicas", tally1),
		Services: b.servicesOf(w.Services), Sentence: upperFirst(oneLine(w.Sentence)), Gate: string(w.Gate), Eligible: w.EligibleAt, Managed: oneLine(w.Managed),
	}
	v.Verdict, v.Sign = verdictOf(w)
	if w.VPA != "" {
		v.VPA = oneLine(w.VPA)
		if w.UpdateMode != "" {
			v.VPA += " (" + oneLine(w.UpdateMode) + ")"
		}
	}
	switch {
	case w.Currency == "":
	case w.Savings.Float > 0 && w.Verdict != rightsizing.Raise:
		v.Money, v.MoneySign = newNum(w.Savings, "rightsizing_hourly_savings", amount(oneLine(w.Currency))), "−"
	case w.Cost.Float > 0:
		v.Money, v.MoneySign = newNum(w.Cost, "rightsizing_hourly_cost", amount(oneLine(w.Currency))), "+"
	}
	v.Exposure = newNum(w.Exposure, "budget_exposure_ratio", ratio)
	if w.QoS != "" {
		v.QoS = w.QoS
		if w.ProposedQoS != "" && w.ProposedQoS != w.QoS {
			v.QoS += " → " + w.ProposedQoS
		}
	}
	for _, r := range w.Reasons {
		v.Reasons = append(v.Reasons, reasonView{r.Code, oneLine(strings.TrimSpace(r.Container + " " + r.Resource))})
	}
	for i := range w.Containers {
		c := &w.Containers[i]
		one := containerView{Name: oneLine(c.Name), OOMKilled: c.OOMKilled, Resources: []resourceView{
			newResourceView("CPU", "cpu", "cpu_cores", &c.CPU, cores), newResourceView("Memory", "memory", "memory_bytes", &c.Memory, size),
		}}
		if c.Checkpoint != nil {
			one.Heartbeat = c.Checkpoint.Updated
			one.Resources[0].Usage = newUsage(c.Checkpoint.CPU.Bars("cpu"), &c.CPU, cores)
			one.Resources[1].Usage = newUsage(c.Checkpoint.Memory.Bars("memory"), &c.Memory, size)
		}
		v.Containers = append(v.Containers, one)
	}
	// A patch that cannot be made is told by the API; the page shows none.
	if patch, err := w.Patch(); err == nil && len(patch) > 0 {
		if text, err := json.MarshalIndent(patch, "", "  "); err == nil {
			v.Patch = string(text)
		}
		if command, err := w.Command(patch); err == nil {
			v.Command = command
		}
	}
	return v
}

// signOf is the sign of a verdict.
func signOf(verdict rightsizing.Verdict, urgency int) state {
	switch {
	case urgency > 1:
		return isFiring
	case verdict == rightsizing.Raise:
		return isBurning
	case verdict == rightsizing.Shrink:
		return isLow
	case verdict == rightsizing.Keep:
		return isFine
	}
	return isUnknown
}

// verdictOf is a verdict in words with what else decides, and the sign of its urgency.
func verdictOf(w *rightsizing.Workload) (words string, sign state) {
	words = string(w.Verdict)
	switch {
	case w.Urgency > 1:
		words += ", urgent"
	case w.Gate != "" && w.Verdict == rightsizing.Shrink:
		words += ", " + string(w.Gate)
	}
	return words, signOf(w.Verdict, w.Urgency)
}

// totals adds up the money of workloads by currency, in the order in which the API adds it up.
func totals(workloads []rightsizing.Workload) []money {
	ranked := make([]*rightsizing.Workload, len(workloads))
	for i := range workloads {
		ranked[i] = &workloads[i]
	}
	rightsizing.Rank(ranked)
	var order []string
	sums := map[string]*[4]float64{}
	for _, w := range ranked {
		if w.Currency == "" {
			continue
		}
		sum := sums[w.Currency]
		if sum == nil {
			sum = &[4]float64{}
			sums[w.Currency], order = sum, append(order, w.Currency)
		}
		if at := slices.Index(rightsizing.Passages, w.Gate); at >= 0 {
			sum[at] += w.Savings.Float
		}
		sum[3] += w.Cost.Float
	}
	var out []money
	for _, currency := range order {
		sum := sums[currency]
		words := amount(oneLine(currency))
		saved := func(at int) num {
			return newNum(slo.Defined(sum[at]), "total_hourly_savings", words).with("gate", string(rightsizing.Passages[at]))
		}
		out = append(out, money{oneLine(currency), saved(0), saved(1), saved(2), newNum(slo.Defined(sum[3]), "total_hourly_cost", words)})
	}
	return out
}

func newResourceView(name, key, family string, r *rightsizing.Resource, unit func(float64) string) resourceView {
	v := resourceView{
		Name: name, Key: key, Verdict: string(r.Verdict), Sign: signOf(r.Verdict, 0), Reasons: r.Reasons, Eligible: r.EligibleAt,
		Request: newNum(r.Request, "rightsizing_request_"+family, unit), Limit: newNum(r.Limit, "rightsizing_limit_"+family, unit),
		Proposed:      newNum(r.Proposed, "rightsizing_proposed_request_"+family, unit),
		ProposedLimit: newNum(r.ProposedLimit, "proposed_limit", unit),
		Target:        newNum(r.Target, "vpa_recommendation_"+family, unit).with("bound", "target"),
		Lower:         newNum(r.Lower, "vpa_recommendation_"+family, unit).with("bound", "lower"),
		Upper:         newNum(r.Upper, "vpa_recommendation_"+family, unit).with("bound", "upper"),
		Headroom: newNum(r.Headroom, "rightsizing_headroom_"+family, func(f float64) string {
			switch {
			case f > 0:
				return unit(f) + " to spare"
			case f < 0:
				return unit(-f) + " short"
			}
			return "just right"
		}),
		Need: r.Headroom.Float < 0, HasRecommendation: r.Target.Defined,
		Different: r.Proposed.Defined && r.Request.Defined && r.Proposed.Float != r.Request.Float,
		Band:      newBand(r, unit),
	}
	e := &r.Evidence
	v.P50, v.P95, v.Max = newNum(e.P50, "p50", unit), newNum(e.P95, "p95", unit), newNum(e.Max, "max", unit)
	v.Risk = newNum(e.Risk, "oom_risk_ratio", ratio)
	return v
}

// newBand draws from 0 to a little more than the largest of what is shown.
func newBand(r *rightsizing.Resource, unit func(float64) string) band {
	if !r.Target.Defined && !r.Request.Defined {
		return band{}
	}
	end := 0.0
	for _, v := range []slo.Value{r.Request, r.Target, r.Lower, r.Proposed, r.ProposedLimit} {
		end = max(end, v.Float)
	}
	// A bound far above all else would squeeze the rest: it is cut off at the edge.
	end = max(end, min(r.Upper.Float, 2.5*end), min(r.Limit.Float, 2.5*end)) * 1.06
	if end <= 0 {
		return band{}
	}
	x := func(v slo.Value) string {
		if !v.Defined {
			return ""
		}
		return drawn(100 * min(1, v.Float/end))
	}
	b := band{
		Shown: true, Target: x(r.Target), Request: x(r.Request), Limit: x(r.Limit), Proposed: x(r.Proposed), NextLimit: x(r.ProposedLimit), End: unit(end),
	}
	if r.Lower.Defined && r.Upper.Defined {
		b.Lower = x(r.Lower)
		b.Wide = drawn(100 * max(0, min(1, r.Upper.Float/end)-min(1, r.Lower.Float/end)))
	}
	var said []string
	for _, one := range []struct {
		name string
		v    slo.Value
	}{{"request", r.Request}, {"limit", r.Limit}, {"recommended from", r.Lower}, {"to", r.Upper}, {"target", r.Target}, {"proposed", r.Proposed}} {
		if one.v.Defined {
			said = append(said, one.name+" "+unit(one.v.Float))
		}
	}
	b.Says = strings.Join(said, ", ")
	return b
}

// newUsage draws a histogram from 0 to where the samples, the request and the proposed limit end.
func newUsage(bars []rightsizing.Bar, r *rightsizing.Resource, unit func(float64) string) usage {
	if len(bars) == 0 {
		return usage{}
	}
	most, end := 0.0, bars[len(bars)-1].To
	for _, b := range bars {
		// Buckets grow wider: what is drawn is an area.
		most = max(most, b.Share/(b.To-b.From))
	}
	limit, words := r.ProposedLimit, "proposed limit "
	if !limit.Defined {
		limit, words = r.Proposed, "proposed request "
	}
	whole := max(end, r.Request.Float, min(limit.Float, 3*end)) * 1.04
	u := usage{End: unit(whole)}
	at := func(f float64) float64 { return 100 * min(1, f/whole) }
	for _, b := range bars {
		high := max(1.5, 100*b.Share/(b.To-b.From)/most)
		u.Bars = append(u.Bars, usageBar{drawn(at(b.From)), drawn(100 - high), drawn(max(0.4, at(b.To)-at(b.From)-0.2)), drawn(high)})
	}
	if r.Request.Defined {
		u.Request, u.RequestWords = drawn(at(r.Request.Float)), "request "+unit(r.Request.Float)
	}
	if limit.Defined {
		u.Limit, u.LimitWords, u.LimitBeyond = drawn(at(limit.Float)), words+unit(limit.Float), limit.Float > whole
	}
	u.Says = strings.Join(slices.DeleteFunc([]string{
		"use from " + unit(bars[0].From) + " to " + unit(end), u.RequestWords, u.LimitWords,
	}, func(text string) bool { return text == "" }), ", ")
	return u
}
