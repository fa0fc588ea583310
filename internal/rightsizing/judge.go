package rightsizing

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// Judge decides about workloads. It is not safe for concurrent use.
type Judge struct {
	Prices Prices
	Memory *Memory
	Tick   time.Duration // how often SLOs are evaluated
}

// Prices turn cores and memory into money. The zero value means that no prices are known.
type Prices struct {
	CPUCoreHour   float64 // money for one core for an hour
	MemoryGiBHour float64 // money for one GiB for an hour
	Currency      string  // three letters; "" when no prices are known
}

// What a verdict asks for. A shrink acts on the worst of two weeks, a raise on today.
const (
	least        = 7.0              // days that VPA must have watched before a shrink
	steady       = 7 * slo.Day      // that a target must have stood before a shrink: one of each weekday
	warm         = slo.Day          // that yoyu must have watched before it says anything of a shrink
	settled      = 80 * time.Hour   // after a rollout: 24 h · log2(10), when the new version owns VPA's P90
	killedLately = slo.Day          // an OOM kill that asks for a raise
	killedEver   = Horizon          // an OOM kill that forbids a shrink
	heartbeat    = 30 * time.Minute // of the recommender's checkpoints, at least
	written      = slo.Day          // within which a written status shows a live recommender
	halfLife     = slo.Day          // of VPA's histograms
	riskiest     = 0.001            // share of memory peaks above a limit that a shrink may leave
	skewed       = 2.0              // largest pod over the one in the middle
	clearance    = 1.15             // over the largest peak, of a memory request that shrinks
	stage        = 0.30             // of a request, at most, given back in one change
	bigStage     = 0.50             // likewise where little of a budget is at risk
	bounded      = 0.95             // share of a limit at which use is cut off by it
	mebi         = float64(1 << 20)
	gibi         = float64(1 << 30)
)

// Judge decides about every workload of one look at a cluster, at now, with the SLOs as they are
// then. What was read stays as it is; what was judged before is replaced. A workload that comes
// again, watched by a second VPA, is judged by the first alone, which is the one the cluster obeys.
func (j *Judge) Judge(workloads []Workload, statuses []slo.Status, now time.Time) {
	pulse := pulseOf(workloads, now)
	budgets := j.budgets(statuses, now)
	changed := map[string]time.Time{} // of services: when a workload last asked for something else
	for i := range workloads {
		w := &workloads[i]
		at := j.Memory.asked(w, now)
		for _, service := range w.Services {
			if at.After(changed[service]) {
				changed[service] = at
			}
		}
	}
	for i := range workloads {
		w := &workloads[i]
		w.Judgement = Judgement{}
		if i > 0 && w.same(&workloads[i-1]) {
			for k := range w.Containers {
				w.Containers[k].CPU.forget()
				w.Containers[k].Memory.forget()
			}
			w.Sentence = "another VPA watches this workload, and is older: the cluster obeys that one."
			continue
		}
		for k := range w.Containers {
			for _, name := range both {
				j.resource(w, &w.Containers[k], name, pulse, now)
			}
		}
		w.limits()
		j.fold(w)
		j.gate(w, budgets, changed, now)
		w.stages()
		w.policies()
		w.Sentence = j.sentence(w, now)
	}
	j.Memory.forget(now)
}

func (w *Workload) same(o *Workload) bool {
	return w.Name == o.Name && w.Kind == o.Kind && w.Namespace == o.Namespace
}

// asks is what the template asks for, to tell when that changes. What a LimitRange gives to pods, or a
// VPA that applies, comes and goes with the pods: the template has not said it.
func (w *Workload) asks() string {
	var out []byte
	for i := range w.Containers {
		c := &w.Containers[i]
		if c.Place == Injected {
			continue
		}
		out = append(out, c.Name...)
		for _, name := range both {
			r := name.of(c)
			request := r.Request
			if r.Defaulted && !r.Limit.Defined { // with a limit, a request left out is that limit
				request = slo.Value{}
			}
			for _, v := range []slo.Value{request, r.Limit} {
				out = strconv.AppendFloat(append(out, ' '), v.Float, 'g', -1, 64)
			}
		}
		out = append(out, '\n')
	}
	return string(out)
}

// pulse is whether the recommender lives, by its checkpoints.
type pulse struct {
	down  bool          // it has stopped
	stale time.Duration // age of a checkpoint from which on the recommendation is stale
}

// pulseOf takes the recommender's pulse. It writes at least ten VPAs a minute, so in a large
// cluster all of them lag: what counts is how far one lags behind the others.
func pulseOf(workloads []Workload, now time.Time) pulse {
	var ages []time.Duration
	for i := range workloads {
		for k := range workloads[i].Containers {
			if c := workloads[i].Containers[k].Checkpoint; c != nil {
				ages = append(ages, now.Sub(c.Updated))
			}
		}
	}
	if len(ages) == 0 {
		return pulse{stale: heartbeat}
	}
	slices.Sort(ages)
	median := ages[len(ages)/2]
	return pulse{down: median > heartbeat, stale: max(heartbeat, 5*median)}
}

func (r *Resource) forget() {
	r.Proposed, r.ProposedLimit, r.Step, r.Headroom = slo.Value{}, slo.Value{}, slo.Value{}, slo.Value{}
	r.Verdict, r.Reasons, r.Evidence, r.EligibleAt = "", nil, Evidence{}, time.Time{}
	r.NextMin, r.NextMax, r.lower, r.short = slo.Value{}, slo.Value{}, slo.Value{}, false
}

// because adds codes.
func (r *Resource) because(codes ...string) { r.Reasons = append(r.Reasons, codes...) }

func (r *Resource) unknown(code string) {
	r.Verdict = Unknown
	r.because(code)
}

// resource judges one resource of one container.
func (j *Judge) resource(w *Workload, c *Container, name resourceName, p pulse, now time.Time) {
	r := name.of(c)
	r.forget()
	if name == cpu && c.Boosted {
		r.because(StartupBoost)
	}
	switch {
	case c.Place == Sidecar:
		r.because(Unmanaged)
		return
	case c.Excluded:
		r.because(Excluded)
		return
	case r.Uncontrolled:
		r.because(NotControlled)
		return
	case w.Condition != "" && w.Condition != Doubted && (w.Condition != NoPods || !w.batch()):
		r.unknown(string(w.Condition))
		return
	case p.down:
		r.unknown(RecommenderDown)
		return
	case c.Checkpoint != nil && now.Sub(c.Checkpoint.Updated) > p.stale:
		r.unknown(Stale)
		return
	case !r.Target.Defined:
		r.unknown(NoRecommendation)
		return
	}
	f := j.facts(w, c, name, now)
	if f.blind {
		r.unknown(FloorLimited)
		return
	}
	j.weigh(w, c, r, f, now)
	j.below(w, c, r, f, now)
	if r.Proposed.Defined && r.Request.Defined {
		r.Headroom = slo.Defined(r.Request.Float - r.Proposed.Float)
	}
}

// batch reports whether pods come and go by design.
func (w *Workload) batch() bool { return w.Kind == "Job" || w.Kind == "CronJob" }

// facts are what a verdict weighs of one resource.
type facts struct {
	name                 resourceName
	target, lower, upper float64 // what VPA would say without its floor for pods; upper is infinite where unknown
	need                 float64 // the target without the policy's bounds
	capped               bool    // by the policy's ceiling
	blind                bool    // the floor hides the truth, and there is no checkpoint
	fresh                bool    // the recommender is known to live
	killed               time.Time
	memory               *subject
}

// facts gathers what is known, notes it in the memory and in the evidence.
func (j *Judge) facts(w *Workload, c *Container, name resourceName, now time.Time) facts {
	r, s := name.of(c), name.scale()
	f := facts{name: name, target: r.Target.Float, lower: r.Lower.Float, upper: math.Inf(1)}
	if r.Upper.Defined {
		f.upper = r.Upper.Float
	}
	e := &r.Evidence
	var used Histogram
	if c.Checkpoint != nil {
		used = c.Checkpoint.CPU
		if name == memory {
			used = c.Checkpoint.Memory
		}
		f.fresh = true
		e.Confidence = slo.Defined(c.Checkpoint.Confidence())
	} else {
		f.fresh = !w.StatusAt.IsZero() && now.Sub(w.StatusAt) <= written
	}
	e.P50, e.P90, e.P95, e.P99, e.Max = used.percentile(s, 0.5), used.percentile(s, 0.9), used.percentile(s, 0.95), used.percentile(s, 0.99), used.percentile(s, 1)
	if !f.fresh {
		r.because(FreshnessUnknown)
	}

	uncapped := r.Uncapped
	if !uncapped.Defined {
		uncapped = r.Target
	}
	f.need = f.target
	switch {
	case floored(name, uncapped.Float) && !e.P90.Defined:
		f.blind = true
		return f
	case floored(name, uncapped.Float):
		r.because(FloorLimited)
		f.target, f.lower, f.upper = e.P90.Float*margin, e.P50.Float*margin, math.Inf(1)
		f.target = max(f.target, r.MinAllowed.Float)
		f.need = f.target
	case uncapped.Float > f.target:
		r.because(CappedByMax)
		f.capped, f.need = true, uncapped.Float
	case uncapped.Float < f.target:
		r.because(CappedByMin)
		f.need = uncapped.Float
	}
	if !e.Confidence.Defined && r.Upper.Defined && uncapped == r.Target && !slices.Contains(r.Reasons, FloorLimited) && f.target > 0 {
		// P95 is at least P90, so upper/target is at least 1 + 1/confidence.
		if spread := r.Upper.Float/f.target - 1; spread > 0 {
			e.Confidence = slo.Defined(1 / spread)
		}
	}
	if !w.RolledOut.IsZero() {
		e.Representative = slo.Defined(1 - math.Exp2(-float64(max(0, now.Sub(w.RolledOut)))/float64(halfLife)))
	}
	f.memory = j.Memory.need(resourceKey(w, c, name), now, f.need)
	e.HighWater = slo.Defined(f.memory.highWater())
	e.Since = f.memory.since(s, f.need)
	e.Watched = f.memory.watched(now)
	if name == memory {
		f.killed = j.Memory.killed(containerKey(w, c), c.OOMKilled)
	}
	if r.Running.Defined && r.Request.Defined && !c.Boosted && math.Abs(r.Running.Float-r.Request.Float) > 0.02*r.Request.Float {
		r.because(Drift)
	}
	switch c.Resize {
	case "Deferred":
		r.because(ResizeDeferred)
	case "Infeasible":
		r.because(ResizeInfeasible)
	}
	return f
}

// Floors of VPA for a whole pod (--pod-recommendation-min-cpu-millicores, -memory-mb). Each
// container gets its share of them, and containers that are long gone are counted too.
const (
	floorCPU    = 25
	floorMemory = 250 << 20
	floorSplit  = 16 // containers that a floor is looked for with
)

// floored reports whether a recommendation is VPA's floor, and so says nothing about use.
func floored(name resourceName, amount float64) bool {
	for n := 1; n <= floorSplit; n++ {
		share := float64(floorMemory / n)
		if name == cpu {
			share = float64(floorCPU/n) / 1000
		}
		if share > 0 && math.Abs(amount-share) < 1e-9*share+1e-12 {
			return true
		}
	}
	return false
}

// weigh decides. The resource has a target, which is fresh or of unknown age.
func (j *Judge) weigh(w *Workload, c *Container, r *Resource, f facts, now time.Time) {
	e, s := &r.Evidence, f.name.scale()
	raised := max(f.target, e.P95.Float*margin)
	if !r.Request.Defined {
		r.Verdict, r.Proposed = Raise, slo.Defined(round(f.name, f.target))
		r.because(RequestUnset)
		r.within(0)
		return
	}
	request := r.Request.Float
	running := request
	if c.Resize != "" && r.Running.Defined {
		running = r.Running.Float // what the pod still has to live on
	}
	threshold := max(f.name.smallest(), 0.1*request, s.width(request, 2))

	// What asks for more.
	var causes []string
	if f.name == memory && !f.killed.IsZero() && now.Sub(f.killed) <= killedLately && !f.killed.Before(w.RolledOut) {
		causes = append(causes, OOMKilled)
	}
	atLimit := r.Limit.Defined && r.Limit.Float > 0 && (e.P90.Float >= bounded*r.Limit.Float ||
		f.capped && f.name == memory && e.Max.Float >= 0.9*r.Limit.Float)
	if atLimit {
		causes = append(causes, LimitBound)
	}
	if running < f.lower {
		up := raised
		if r.MaxAllowed.Defined {
			up = min(up, max(r.MaxAllowed.Float, f.target))
		}
		if len(causes) > 0 || up-running >= threshold || running < request {
			causes = append(causes, UnderLowerBound)
		}
	}
	r.short = len(causes) > 0
	aimed := w.Autoscaler.aims(c.Name, f.name)
	if len(causes) > 0 && (!aimed.Defined || slices.Contains(causes, OOMKilled)) {
		up := max(raised, request)
		if len(causes) == 1 && causes[0] == UnderLowerBound && r.MaxAllowed.Defined {
			up = max(min(up, r.MaxAllowed.Float), request)
		}
		if causes[0] == OOMKilled && (!r.Limit.Defined || r.Limit.Float == request) {
			up = max(up, bumped(request))
		}
		r.Verdict, r.Proposed = Raise, slo.Defined(max(request, round(f.name, up)))
		r.because(causes...)
		r.within(request)
		return
	}

	// What could be given back: not more than the worst of two weeks leaves.
	down := round(f.name, max(e.HighWater.Float, r.MinAllowed.Float, r.Floor.Float, f.used(c, e)))
	if request-down < threshold {
		r.Verdict, r.Proposed = Keep, r.Request
		if aimed.Defined && len(causes) > 0 {
			r.because(HPAUtilization)
			r.Evidence.Replicas = w.Autoscaler.replicas(w.Replicas, request/round(f.name, raised))
		}
		return
	}
	r.Proposed = slo.Defined(down)
	if aimed.Defined {
		// The same trigger with smaller requests means more pods: the money stays spent.
		r.Verdict, r.Proposed = Keep, r.Request
		r.because(HPAUtilization)
		r.Evidence.Replicas = w.Autoscaler.replicas(w.Replicas, request/down)
		return
	}
	if e.Watched < warm {
		r.unknown(Warming)
		r.EligibleAt = f.memory.Began.Add(steady)
		return
	}
	r.wait(w, c, f, now)
}

// within keeps a raise within what the namespace lets a container ask for, but not below what it asks
// for now.
func (r *Resource) within(request float64) {
	if r.Ceiling.Defined && r.Proposed.Float > r.Ceiling.Float {
		r.Proposed = slo.Defined(max(request, r.Ceiling.Float))
		r.because(CappedByRange)
	}
	if r.Floor.Defined {
		r.Proposed.Float = max(r.Proposed.Float, r.Floor.Float)
	}
}

// used is what a memory request must not go below, whatever VPA recommends.
func (f facts) used(c *Container, e *Evidence) float64 {
	if f.name != memory {
		return 0
	}
	least := e.Max.Float * clearance
	if c.Heap.Fixed.Defined {
		least = max(least, c.Heap.Fixed.Float*1.25+64*mebi)
	}
	return least
}

// wait makes a shrink of what can be given back, unless something says: not yet.
func (r *Resource) wait(w *Workload, c *Container, f facts, now time.Time) {
	e := &r.Evidence
	known := true
	var until time.Time
	hold := func(code string, from time.Time) {
		r.because(Waiting + code)
		known = known && !from.IsZero()
		if from.After(until) {
			until = from
		}
	}
	if e.Watched < steady {
		hold(Warming, f.memory.Began.Add(steady))
	} else if stood := now.Sub(e.Since); stood < steady {
		hold(Unstable, e.Since.Add(steady))
	}
	if w.Condition == Doubted {
		hold(LowConfidence, time.Time{})
	} else if !e.Confidence.Defined {
		hold(LowConfidence, time.Time{})
	} else if short := least - e.Confidence.Float; short > 1e-9 {
		hold(LowConfidence, now.Add(time.Duration(short*float64(slo.Day))))
	}
	if !w.RolledOut.IsZero() && now.Sub(w.RolledOut) < settled {
		hold(RolloutRecent, w.RolledOut.Add(settled))
	}
	if w.Skew.Defined && w.Skew.Float >= skewed {
		hold(SkewedPods, time.Time{})
	}
	if f.name == memory {
		if !f.killed.IsZero() && now.Sub(f.killed) < killedEver {
			hold(OOMRecent, f.killed.Add(killedEver))
		}
		if c.Heap.Share {
			hold(RuntimeHeap, time.Time{})
		}
		ceiling := r.Proposed.Float
		if r.Limit.Defined && r.Limit.Float != r.Request.Float {
			ceiling = max(ceiling, memoryLimit(r))
		}
		if c.Checkpoint != nil {
			e.Risk = c.Checkpoint.Memory.above(memoryScale, ceiling)
		}
		if e.Risk.Float > riskiest {
			hold(OOMRisk, time.Time{})
		}
	}
	if r.Verdict = Shrink; until.IsZero() && known {
		if r.Request.Float > f.upper {
			r.because(OverUpperBound)
		} else {
			r.because(OverProvisioned)
		}
		return
	}
	r.Verdict = Keep
	if known {
		r.EligibleAt = until
	}
}

// aims is the share of the request at which the autoscaler keeps a container's use.
func (a *Autoscaler) aims(container string, name resourceName) slo.Value {
	if a == nil {
		return slo.Value{}
	}
	all, one := a.CPU, a.Containers[container].CPU
	if name == memory {
		all, one = a.Memory, a.Containers[container].Memory
	}
	if one.Defined {
		return one
	}
	return all
}

// replicas is how many pods the autoscaler makes of as many when each asks for 1/factor of what it
// asked for.
func (a *Autoscaler) replicas(now int, factor float64) slo.Value {
	n := math.Ceil(float64(now)*factor - 1e-9)
	return slo.Defined(min(max(n, float64(a.Min)), float64(max(a.Max, a.Min))))
}

// smallest is the least change worth a rollout.
func (r resourceName) smallest() float64 {
	if r == cpu {
		return 0.010
	}
	return 16 * mebi
}

// bumped is what VPA asks for after an OOM kill (oom-bump-up-ratio, oom-min-bump-up-bytes).
func bumped(amount float64) float64 { return max(amount*1.2, amount+100*mebi) }

// round rounds up to what a person would write.
func round(name resourceName, amount float64) float64 {
	unit := 16 * mebi
	switch {
	case name == cpu && amount < 0.1:
		unit = 0.005
	case name == cpu && amount <= 1:
		unit = 0.010
	case name == cpu:
		unit = 0.050
	case amount < 128*mebi:
		unit = mebi
	}
	n := math.Ceil(amount/unit - 1e-9)
	if name == cpu {
		return n * (unit * 1000) / 1000 // a whole number of millicores is the nearest float64 to it
	}
	return n * unit
}

// limits proposes limits beside the requests: none where there was none, equal where they were
// equal, and so far above what was used that the change does not kill.
func (w *Workload) limits() {
	guaranteed := w.qos(false) == Guaranteed
	for i := range w.Containers {
		c := &w.Containers[i]
		for _, name := range both {
			r := name.of(c)
			switch {
			case !r.Limit.Defined || !r.Proposed.Defined:
			case r.Limit == r.Request && (guaranteed || name == memory):
				r.ProposedLimit = r.Proposed
			case r.Verdict != Raise && r.Verdict != Shrink:
				r.ProposedLimit = r.Limit
			case name == memory:
				r.ProposedLimit = slo.Defined(memoryLimit(r))
			default:
				limit := r.Limit.Float
				if slices.Contains(r.Reasons, LimitBound) {
					limit *= 1.2
				}
				if limit < 2*r.Proposed.Float {
					limit = 2 * r.Proposed.Float
				}
				if limit != r.Limit.Float {
					limit = round(cpu, limit)
				}
				r.ProposedLimit = slo.Defined(limit)
			}
			if r.ProposedLimit.Defined && r.Ceiling.Defined && r.ProposedLimit.Float > r.Limit.Float {
				r.ProposedLimit.Float = max(min(r.ProposedLimit.Float, r.Ceiling.Float), r.Proposed.Float, r.Limit.Float)
			}
		}
	}
	w.QoS, w.ProposedQoS = w.qos(false), w.qos(true)
}

// memoryLimit is the limit beside a proposed memory request that it need not equal.
func memoryLimit(r *Resource) float64 {
	limit := r.Limit.Float
	switch {
	case slices.Contains(r.Reasons, OOMKilled), slices.Contains(r.Reasons, LimitBound):
		limit = round(memory, max(bumped(limit), r.Evidence.Max.Float*1.3))
	case limit < 1.2*r.Evidence.Max.Float:
		limit = round(memory, r.Evidence.Max.Float*1.3)
	}
	return max(limit, r.Proposed.Float)
}

// The QoS classes of pods.
const (
	Guaranteed = "Guaranteed"
	Burstable  = "Burstable"
	BestEffort = "BestEffort"
)

// qos is the QoS class of the pods, as they are or with what is proposed. A request that is left
// out is the limit (Kubernetes, pkg/apis/core/v1/helper/qos).
func (w *Workload) qos(proposed bool) string {
	equal, any := true, false
	for _, list := range [][]Container{w.Init, w.Containers} {
		for i := range list {
			for _, name := range both {
				r := name.of(&list[i])
				request, limit := r.Request, r.Limit
				if proposed && r.Proposed.Defined && list[i].Place == Main && (r.Verdict == Raise || r.Verdict == Shrink) {
					request, limit = r.Proposed, r.ProposedLimit
				}
				any = any || request.Defined || limit.Defined
				if !limit.Defined || request.Defined && request != limit {
					equal = false
				}
			}
		}
	}
	switch {
	case !any || len(w.Containers) == 0:
		return BestEffort
	case equal:
		return Guaranteed
	}
	return Burstable
}

// fold makes one verdict of all, and money.
func (j *Judge) fold(w *Workload) {
	verdicts := map[Verdict]bool{}
	pods := w.Mean()
	if j.Prices.Currency != "" && pods.Defined {
		w.Currency, w.Savings, w.Cost = j.Prices.Currency, slo.Defined(0), slo.Defined(0)
	}
	note := func(container, resource, code string) {
		w.Reasons = append(w.Reasons, Reason{container, resource, code})
	}
	if w.Condition == Missing || w.Condition != "" && len(w.Containers) == 0 {
		note("", "", string(w.Condition))
	}
	if len(w.Rivals) > 0 {
		note("", "", VPAConflict)
	}
	waits, known := false, true
	for i := range w.Containers {
		c := &w.Containers[i]
		for _, name := range both {
			r := name.of(c)
			if r.Verdict != "" {
				verdicts[r.Verdict] = true
			}
			for _, code := range r.Reasons {
				note(c.Name, string(name), code)
			}
			if c.Place == Injected && (r.Verdict == Raise || r.Verdict == Shrink) {
				note(c.Name, string(name), InjectedContainer)
			}
			if holds(r) {
				waits = true
				known = known && !r.EligibleAt.IsZero()
				if r.EligibleAt.After(w.EligibleAt) {
					w.EligibleAt = r.EligibleAt
				}
			}
			if w.Currency == "" || !r.Headroom.Defined {
				continue
			}
			money := r.Headroom.Float * pods.Float * j.price(name)
			switch r.Verdict {
			case Shrink:
				w.Savings.Float += money
			case Raise:
				w.Cost.Float -= money
			}
		}
	}
	if !waits || !known {
		w.EligibleAt = time.Time{}
	}
	if w.QoS != w.ProposedQoS {
		note("", "", QoSChange)
	}
	for _, name := range both {
		room, more := w.Room.CPU, 0.0
		if name == memory {
			room = w.Room.Memory
		}
		for i := range w.Containers {
			if r := name.of(&w.Containers[i]); r.Verdict == Raise && r.Proposed.Defined {
				more += (r.Proposed.Float - r.Request.Float) * pods.Float
			}
		}
		if room.Defined && more > room.Float*(1+1e-9) {
			note("", string(name), QuotaExceeded)
		}
	}
	w.Verdict = Unknown
	switch {
	case verdicts[Raise]:
		w.Verdict = Raise
	case verdicts[Shrink]:
		w.Verdict = Shrink
	case verdicts[Keep] && !verdicts[Unknown]:
		w.Verdict = Keep
	}
}

// holds reports whether a resource could give something back, but waits.
func holds(r *Resource) bool {
	return r.Verdict == Keep && slices.ContainsFunc(r.Reasons, func(code string) bool {
		return len(code) > len(Waiting) && code[:len(Waiting)] == Waiting
	}) || r.Verdict == Unknown && slices.Contains(r.Reasons, Warming)
}

// price is that of one core or byte for an hour.
func (j *Judge) price(name resourceName) float64 {
	if name == cpu {
		return j.Prices.CPUCoreHour
	}
	return j.Prices.MemoryGiBHour / gibi
}

// stages cuts what shrinks into steps.
func (w *Workload) stages() {
	most := stage
	if w.Gate != Ungated && w.Exposure.Defined && w.Exposure.Float < 0.01 {
		most = bigStage
	}
	w.most = most
	for i := range w.Containers {
		for _, name := range both {
			r := name.of(&w.Containers[i])
			r.Step = r.Proposed
			if r.Verdict == Shrink {
				r.Step = slo.Defined(min(r.Request.Float, max(r.Proposed.Float, round(name, r.Request.Float*(1-most)))))
			}
		}
	}
}

// Rank orders workloads as somebody would work through them: urgent raises, raises, safe shrinks by
// the money they bring for what they put at risk, then all others; the rest by name.
func Rank(workloads []*Workload) {
	place := func(w *Workload) int {
		switch {
		case w.Verdict == Raise || w.Urgency > 0:
			return 3 - w.Urgency
		case w.Gate == Safe:
			return 4
		case w.Gate == Ungated:
			return 5
		case w.Gate == Blocked:
			return 6
		case w.Verdict == Keep:
			return 7
		}
		return 8
	}
	slices.SortStableFunc(workloads, func(a, b *Workload) int {
		return cmp.Or(
			cmp.Compare(place(a), place(b)),
			cmp.Compare(b.Trade.Float, a.Trade.Float),
			cmp.Compare(b.Savings.Float, a.Savings.Float),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name),
		)
	})
}
