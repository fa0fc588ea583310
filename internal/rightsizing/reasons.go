package rightsizing

// The codes of reasons. They are a promise to dashboards and rules: they may be added to, no more.
const (
	// Why nothing can be said, beside the Conditions.
	NoRecommendation = "no_recommendation" // the VPA says nothing about the container yet
	Stale            = "stale"             // the recommender passes this VPA over
	RecommenderDown  = "recommender_down"  // it writes no checkpoint at all any more
	FloorLimited     = "floor_limited"     // the target is VPA's floor for pods; with a checkpoint that is seen through
	Warming          = "warming"           // yoyu has not watched for long enough

	// Why nothing is to be said.
	Excluded      = "excluded"       // the VPA's policy turns the container off
	NotControlled = "not_controlled" // or the resource
	Unmanaged     = "unmanaged"      // a native sidecar: VPA does not know it

	// Why to ask for more.
	UnderLowerBound = "under_lower_bound"
	RequestUnset    = "request_unset"
	OOMKilled       = "oom_killed"  // within a day, by the present template
	LimitBound      = "limit_bound" // use is cut off by the limit: what is needed is more than what is seen

	// Why to ask for less.
	OverUpperBound  = "over_upper_bound"
	OverProvisioned = "over_provisioned"

	// Waiting comes before the code of what a shrink waits for.
	Waiting        = "shrink_waiting:"
	Unstable       = "unstable"        // the target has not stood for a week
	LowConfidence  = "low_confidence"  // VPA has not watched for a week
	RolloutRecent  = "rollout_recent"  // VPA still mixes in the version before
	SkewedPods     = "skewed_pods"     // one pod needs far more than the others
	OOMRecent      = "oom_recent"      // within two weeks
	OOMRisk        = "oom_risk"        // peaks were above the proposed limit
	RuntimeHeap    = "runtime_heap"    // the heap grows with the limit
	HPAUtilization = "hpa_utilization" // an autoscaler would answer with more pods; comes without Waiting, as it never ends

	// Blocking comes before the code of what a budget blocks a shrink with.
	Blocking         = "blocked:"
	SLOData          = "slo_data"         // not fresh, or too little of it
	BudgetLeft       = "budget_left"      // too little
	NoAlert          = "no_alert"         // one fires, or did within a day
	NotTrendingOut   = "not_trending_out" // burns faster than the period
	ExposureTooLarge = "exposure"         // a mistake would cost more than the budget can bear
	Soak             = "soak"             // another workload of the service has just been changed
	Freshness        = "freshness"        // nobody can say whether the recommender lives
	ChangeRegressed  = "regressed"        // the last change went wrong; comes without Blocking too, as it is to be taken back

	// What spoke against a change within a day, beside OOMKilled, LimitBound and UnderLowerBound.
	Alerted  = "alerted"   // an alert of its service began
	BurnRose = "burn_rose" // its service burns above its period, and more than twice as fast as before

	// What a budget says besides.
	BurnNotResource = "burn_not_resource" // the service burns, and this workload is known to lack nothing

	// What is good to know.
	CappedByMax       = "capped:max"
	CappedByMin       = "capped:min"
	CappedByRange     = "capped:limit_range" // what is needed is more than the namespace's LimitRange allows
	QuotaExceeded     = "quota_exceeded"     // the namespace's ResourceQuota has no room for the raise
	FreshnessUnknown  = "freshness_unknown"
	VPAConflict       = "vpa_conflict" // two VPAs watch the workload, the older one counts
	Drift             = "drift"        // pods ask for something else than the template
	StartupBoost      = "startup_boost"
	ResizeDeferred    = "resize_deferred"
	ResizeInfeasible  = "resize_infeasible"
	InjectedContainer = "injected" // the template does not hold the container: who puts it there decides
	QoSChange         = "qos_change"
)
