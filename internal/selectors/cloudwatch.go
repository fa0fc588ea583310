package selectors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// CloudWatch is a count of events as a configuration writes it for a CloudWatch source: metrics of
// one resource that are added up or taken away, such as
//
//	HTTPCode_Target_5XX_Count + HTTPCode_ELB_5XX_Count
//	count(TargetResponseTime <= 300ms)
type CloudWatch []CloudWatchTerm

// CloudWatchTerm is one statistic of one metric.
//
// A name alone is its Sum, count(name) its SampleCount. With a threshold it is SampleCount times a
// percentile rank: PR excludes its lower bound and includes its upper one, so that "at most" and
// "more than" can be asked for, and nothing else. A rank is always a number where there are samples,
// which the documentation does not promise of a trimmed count (TC).
type CloudWatchTerm struct {
	Negative bool // it is taken away
	Metric   string
	Samples  bool   // SampleCount, else Sum
	Rank     string // with Samples: "PR(:0.3)" or "PR(0.3:)", the share of the samples in percent; "": all of them
}

// Statistics are what has to be asked for: the second one only where a threshold is.
func (t CloudWatchTerm) Statistics() []string {
	switch {
	case !t.Samples:
		return []string{"Sum"}
	case t.Rank == "":
		return []string{"SampleCount"}
	}
	return []string{"SampleCount", t.Rank}
}

// String is the term in the one spelling that ParseCloudWatch reads again.
func (t CloudWatchTerm) String() string {
	name := t.Metric
	if cloudWatchMetric.FindString(name) != name {
		name = `"` + name + `"`
	}
	switch low, high, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(t.Rank, "PR("), ")"), ":"); {
	case !t.Samples:
		return name
	case high != "":
		return "count(" + name + " <= " + high + ")"
	case low != "":
		return "count(" + name + " > " + low + ")"
	}
	return "count(" + name + ")"
}

// String is the count in the one spelling that ParseCloudWatch reads again.
func (c CloudWatch) String() string {
	var b strings.Builder
	for i, t := range c {
		switch {
		case t.Negative:
			b.WriteString(" - ")
		case i > 0:
			b.WriteString(" + ")
		}
		b.WriteString(t.String())
	}
	return b.String()
}

var (
	cloudWatchMetric    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./:@%#-]*`)
	cloudWatchThreshold = regexp.MustCompile(`^\s*(<=|>=|<|>)\s*([^\s)]+)\s*`)
)

// ParseCloudWatch reads a count. An error says at which character, and what to write instead.
func ParseCloudWatch(text string) (CloudWatch, error) {
	s := datadogScanner{text: text}
	var out CloudWatch
	for negative := false; ; {
		t, err := s.cloudWatchTerm()
		if err != nil {
			return nil, err
		}
		t.Negative = negative
		out = append(out, t)
		s.space()
		switch {
		case s.at == len(s.text):
			return out, nil
		case s.take("+"):
			negative = false
		case s.take("-"):
			negative = true
		case strings.HasPrefix(s.rest(), "*"), strings.HasPrefix(s.rest(), "/"):
			return nil, s.fault("only + and - join counts, yoyu divides by itself")
		default:
			return nil, s.fault("%q follows the metric; a name with spaces goes into quotes", clip(s.rest(), 20))
		}
	}
}

func (s *datadogScanner) cloudWatchTerm() (t CloudWatchTerm, err error) {
	s.space()
	const like = "write it like RequestCount, or count(TargetResponseTime <= 300ms)"
	switch {
	case s.take("count("):
		t.Samples = true
	case s.take("sum("):
	default:
		if word := datadogWord.FindString(s.rest()); strings.HasPrefix(s.rest()[len(word):], "(") {
			return t, s.fault("only count(…) and sum(…) count events, %s is neither", clip(word+"(", 20))
		}
		t.Metric, err = s.cloudWatchName(like)
		return t, err
	}
	s.space()
	if t.Metric, err = s.cloudWatchName(like); err != nil {
		return t, err
	}
	if m := cloudWatchThreshold.FindStringSubmatch(s.rest()); m != nil {
		bound, err := cloudWatchBound(m[2])
		switch {
		case !t.Samples:
			return t, s.fault("a sum has no threshold, write count(%s …)", t.Metric)
		case err != nil:
			return t, s.fault("%s", err)
		case m[1] == "<=":
			t.Rank = "PR(:" + bound + ")"
		case m[1] == ">":
			t.Rank = "PR(" + bound + ":)"
		default:
			return t, s.fault("CloudWatch tells <= from >, and knows no %s", m[1])
		}
		s.at += len(m[0])
	}
	s.space()
	if !s.take(")") {
		return t, s.fault("the parenthesis is never closed, %s", like)
	}
	return t, nil
}

func (s *datadogScanner) cloudWatchName(like string) (string, error) {
	if s.take(`"`) {
		end := strings.IndexByte(s.rest(), '"')
		if end <= 0 || end > 255 {
			return "", s.fault("no name of a metric in quotes")
		}
		name := s.rest()[:end]
		s.at += end + 1
		return name, nil
	}
	name := cloudWatchMetric.FindString(s.rest())
	if name == "" || len(name) > 255 {
		return "", s.fault("a metric is missing, %s", like)
	}
	s.at += len(name)
	return name, nil
}

// cloudWatchBound is a threshold in the metric's own unit; a duration is in seconds, as load
// balancers measure.
func cloudWatchBound(text string) (string, error) {
	if v, err := strconv.ParseFloat(text, 64); err == nil && v > 0 && v < 1e15 {
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return strconv.FormatFloat(float64(d)/1e9, 'f', -1, 64), nil
	}
	return "", fmt.Errorf("%s is no threshold, write a duration like 300ms or a number in the metric's own unit", clip(text, 20))
}

// CloudWatchScope says whose metrics are counted: a namespace and dimensions, or one of the resources
// that yoyu finds by name or by tags.
type CloudWatchScope struct {
	Namespace  string            `json:"namespace"`
	Dimensions map[string]string `json:"dimensions,omitempty"` // exactly these, and those of group_by

	LoadBalancer *CloudWatchResource `json:"load_balancer,omitempty"` // an Application Load Balancer
	TargetGroup  *CloudWatchResource `json:"target_group,omitempty"`
	ECSService   *CloudWatchResource `json:"ecs_service,omitempty"` // its target groups; the name is cluster/service

	// Alive is a metric of the same resource that is reported whether or not there is traffic: where it
	// has a value and the total has none, there was no traffic. "": silence is not known to be that.
	Alive string `json:"alive,omitempty"`
}

// CloudWatchResource is found by its name or by tags, all of which it carries.
type CloudWatchResource struct {
	Name string            `json:"name,omitempty"`
	Tags map[string]string `json:"tags,omitempty"`
}

// String is the scope as an indicator holds it: comparable, and read again by ParseCloudWatchScope.
func (s CloudWatchScope) String() string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // maps of text
	}
	return string(text)
}

// ParseCloudWatchScope reads what String wrote.
func ParseCloudWatchScope(text string) (s CloudWatchScope, err error) {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, fmt.Errorf("scope: %w", err)
	}
	if s.Namespace == "" {
		return s, errors.New("scope: names no namespace")
	}
	return s, nil
}
