package promtest

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/common/model"

	"github.com/yoyu-sre/yoyu/internal/realtest"
)

// Query answers an instant query about now. Warnings fail the test: an answer is whole or none.
func (s *Server) Query(expression string) model.Value {
	s.t.Helper()
	return s.QueryAt(expression, time.Now())
}

// QueryAt answers an instant query about a moment, in whole milliseconds.
func (s *Server) QueryAt(expression string, at time.Time) model.Value {
	s.t.Helper()
	value, err := s.query(expression, at)
	if err != nil {
		s.t.Fatalf("prometheus: %v", err)
	}
	return value
}

// RawSamples are the samples as they were stored, of every series that the selector matches, in
// (from, to]. Staleness markers are not among them. There is no evaluation in between: no
// lookback, no steps, no interpolation.
func (s *Server) RawSamples(selector string, from, to time.Time) model.Matrix {
	s.t.Helper()
	span := to.UnixMilli() - from.UnixMilli()
	if span <= 0 {
		s.t.Fatalf("prometheus: raw samples of %s: empty span from %s to %s", selector, from, to)
	}
	value := s.QueryAt(fmt.Sprintf("%s[%dms]", selector, span), to.Truncate(time.Millisecond))
	matrix, ok := value.(model.Matrix)
	if !ok {
		s.t.Fatalf("prometheus: raw samples of %s: a %s, want a matrix", selector, value.Type())
	}
	return matrix
}

// Await asks an instant query again and again until its vector satisfies the condition, and
// returns that vector. It fails the test, with the last answer, when that takes over a minute.
func (s *Server) Await(expression string, condition func(model.Vector) bool) model.Vector {
	s.t.Helper()
	if s.process == nil {
		s.t.Fatalf("prometheus: await %s: not running", expression)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()

	var vector model.Vector
	var last error
	err := realtest.Poll(ctx, s.process.Done(), func() bool {
		var value model.Value
		if value, last = s.query(expression, time.Now()); last != nil {
			return false
		}
		var ok bool
		if vector, ok = value.(model.Vector); !ok {
			last = fmt.Errorf("a %s, want a vector", value.Type())
			return false
		}
		return condition(vector)
	})
	if err != nil {
		s.t.Fatalf("prometheus: await %s: %v; last answer %v, error %v", expression, err, vector, last)
	}
	return vector
}

// AwaitScrape returns once every target of the job has been scraped, well, by a scrape that began
// after the moment. What a target counted before that moment is then stored.
func (s *Server) AwaitScrape(job string, after time.Time) {
	s.t.Helper()
	// The timestamp of up is when the scrape began, or up to a hundredth of its interval earlier.
	late := fmt.Sprintf(`min(timestamp(up{job=%q})) > %.3f and min(up{job=%q}) == 1`, job, float64(after.UnixMilli())/1000, job)
	s.Await(late, func(v model.Vector) bool { return len(v) > 0 })
}

func (s *Server) query(expression string, at time.Time) (model.Value, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	value, warnings, _, err := s.client.Query(ctx, expression, at)
	if err == nil && len(warnings) > 0 {
		err = fmt.Errorf("warnings: %q", warnings)
	}
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", expression, err)
	}
	return value, nil
}
