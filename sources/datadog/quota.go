package datadog

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/yoyu-sre/yoyu/internal/datadogapi"
)

// quota shares the limit on queries, which is the whole organisation's: dashboards and everybody
// else's tools live on it too. What it is, and how much of it is left, every answer says in its
// headers.
//
// Of each of the limit's periods no more than a share is used, and the last fifth of the limit is
// left to others altogether. The past takes only what the present will not need until the limit
// begins anew; where even the present needs more than there is, it asks less often, evenly.
type quota struct {
	share float64       // of the limit
	every time.Duration // at most so often does the present ask
	round int           // requests with which the present asks everything

	mu       sync.Mutex
	limit    int // requests a period; 0: nobody said yet
	period   time.Duration
	left     int       // what the organisation has left, as far as is known
	resets   time.Time // when the limit begins anew
	used     int       // own requests of this period
	asked    time.Time // when the present last began a round
	refused  time.Time // until then nothing is asked: the limit was reached
	refusals int       // in a row
}

// spare is the share of the limit that is never touched.
const spare = 0.2

// patience is how long a request waits for its turn; what takes longer is an error, so that the
// same span is asked again later.
const patience = 5 * time.Minute

// begin is how long the present has to wait before it asks again.
func (q *quota) begin(now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	wait := q.denied(now, false)
	if rest := q.resets.Sub(now); wait == 0 && q.limit > 0 && !q.asked.IsZero() && q.need(rest) > q.own() {
		wait = q.asked.Add(time.Duration(float64(rest) * float64(q.round) / float64(q.own()))).Sub(now)
	}
	if wait <= 0 {
		q.asked = now
		return 0
	}
	return wait
}

// admit takes one request; it says how long to wait where there is none to be had.
func (q *quota) admit(now time.Time, past bool) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if wait := q.denied(now, past); wait > 0 {
		return wait
	}
	q.used++
	q.left--
	return 0
}

// denied is how long there is nothing to be had.
func (q *quota) denied(now time.Time, past bool) time.Duration {
	if q.refused.After(now) {
		return q.refused.Sub(now)
	}
	if q.limit == 0 {
		return 0
	}
	if !now.Before(q.resets) {
		q.renew(q.resets.Add((now.Sub(q.resets)/q.period + 1) * q.period))
	}
	rest := q.resets.Sub(now)
	have, floor := q.own(), int(spare*float64(q.limit))
	if past {
		have -= q.need(rest)
		floor += q.need(rest)
	}
	if have <= 0 || q.left <= floor {
		return rest
	}
	return 0
}

// own is how many requests of this period are still one's own.
func (q *quota) own() int { return int(q.share*float64(q.limit)) - q.used }

// need is how many requests the present will want in the time that is left.
func (q *quota) need(rest time.Duration) int {
	return q.round * int((rest+q.every-1)/q.every)
}

// renew begins another period of the limit.
func (q *quota) renew(resets time.Time) {
	q.resets, q.used, q.left = resets, 0, q.limit
}

// answered learns from the headers of an answer; status is its HTTP status.
func (q *quota) answered(now time.Time, header http.Header, status int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	reset, resetOK := seconds(header.Get("X-Ratelimit-Reset"))
	if status == http.StatusTooManyRequests {
		if !resetOK || reset <= 0 {
			reset = min(30*time.Second<<min(q.refusals, 5), 10*time.Minute) // it does not say
		}
		q.refusals++
		q.refused = now.Add(reset)
	} else {
		q.refusals = 0
	}
	limit, limitErr := strconv.Atoi(header.Get("X-Ratelimit-Limit"))
	left, leftErr := strconv.Atoi(header.Get("X-Ratelimit-Remaining"))
	period, periodOK := seconds(header.Get("X-Ratelimit-Period"))
	if limitErr != nil || leftErr != nil || !periodOK || !resetOK || limit <= 0 || period <= 0 || reset > period {
		return
	}
	first := q.limit == 0
	q.limit, q.period = limit, period
	resets := now.Add(reset)
	if first || resets.Sub(q.resets) > period/2 { // its clock decides when a period is over
		used := q.used
		q.renew(resets)
		if first {
			q.used = used
		} else {
			q.used = 1
		}
	}
	q.left = min(q.left, left)
}

// reached is the error of a request that would have to wait for longer than patience.
func reached(wait time.Duration) error {
	return datadogapi.Failed("quota", "limit", "the share of the organisation's query limit that yoyu may use is used up; it asks again in %s", wait.Round(time.Second))
}

// seconds reads a header that counts seconds.
func seconds(text string) (time.Duration, bool) {
	n, err := strconv.Atoi(text)
	return time.Duration(n) * time.Second, err == nil && n >= 0 && n <= 7*24*3600
}
