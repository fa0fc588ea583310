package sinks

// JSONSummary is what one objective, or one group of it, did over a whole backtest.
type JSONSummary struct {
	SLO            string                `json:"slo"` // as in the reports and alerts beside it
	Of             string                `json:"of"`  // the SLO in whose place it was tried; its own name where it is that
	Labels         map[string]string     `json:"labels"`
	Objective      float64               `json:"objective"` // 0 to 1
	Policy         string                `json:"policy"`
	Period         string                `json:"period"`
	Severities     []JSONSeveritySummary `json:"severities"`
	RemainingRatio Number                `json:"remaining_ratio"` // of the budget, at the end of the data
}

// JSONSeveritySummary is what one severity did. An incident is a stretch of time in which any of
// its pairs fired.
type JSONSeveritySummary struct {
	Severity      string  `json:"severity"`
	Count         int     `json:"count"`                      // incidents
	FiringSeconds float64 `json:"firing_seconds"`             // all of them together
	Earliest      Number  `json:"earliest_detection_seconds"` // from the beginning of the trouble to the first firing tick
	Median        Number  `json:"median_detection_seconds"`   // the mean of the middle two of an even number
	Longest       Number  `json:"longest_detection_seconds"`  //
	SpentAtFirst  Number  `json:"first_budget_spent_ratio"`   // share of the budget gone when the first one started
}
