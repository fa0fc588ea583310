// Package scrape counts events from /metrics pages itself: no Prometheus is needed.
//
// A scraper cannot look into the past. So it scrapes when Collect is asked for a span that ends
// later than all before it, books what it saw at the span's end, and remembers its answers for two
// hours:
//
//	Collect(span) ─▶ does span.To lie after the newest turn? ── no ──────────┐
//	                      │ yes: one turn                                    ▼
//	                 every target once ─▶ pages ─▶ Memory.Count(…, span.To] ─▶ remembered answers ─▶ Samples
//
// What it promises:
//
//   - A tick is scraped once. A span asked again, alone or as part of a longer one, is answered
//     from memory, and the answer is the same.
//   - A report at T holds what samples at or before T say, and T is the tick that has just passed:
//     the scrape begins a moment after T and is booked at T, so that what happened since the last
//     scrape belongs to the slot that just ended.
//   - Nothing is lost with a scrape: counters remember for us. When a target answers again its
//     increase is booked there, or spread over the gap when that was longer than
//     increments.MaxGap, and the gap itself is covered only as far as the last sample vouches.
//   - A page counts whole or not at all. Half a line, a duplicate of a counted series, a missing
//     "# EOF" or a byte of zero refuses the page with the number of the line, as does a page over
//     the limits; the other targets stand.
//   - A question that some of its targets answered is covered: their own samples vouch for it, as
//     they would in Prometheus. A question is failed (slo.Sample.Err) when targets failed and none
//     of those that answered carries its events: their death is no silence. Collect fails when no
//     target answered at all. A span that is over and was never scraped is answered with no coverage.
//
// Time comes from the span alone; no clock is read. So the caller owes two things, and the loop
// keeps both:
//
//   - The first span that a source is ever asked for ends now, and a newer end always means now. A
//     page only shows the present: asked for last week first, this source would book today's page
//     there. The loop asks it for no past (a lane without backfill), a backtest leaves it out, and
//     configuration refuses it a delay.
//   - It takes the time it asks for from the clock just before it asks. A process that was
//     suspended between the two would book hours of events at the tick it fell asleep in; asked
//     for the tick it woke up in, they are a gap, and spread over it.
//
// A clock that is set back costs the ticks until it has caught up: they end before the newest turn
// and have no answer, and the counters then show what happened meanwhile. What is remembered from
// before a restart may even lie after the present: up to two hours are waited for like that; more
// can only come of a clock that ran ahead, and the memory begins anew.
//
// Series carry the target's job and instance as Prometheus attaches them; a series' own labels of
// these names become exported_job and exported_instance. A timestamp on a page does not move a
// sample, but one older than increments.Lookback says that the sample is no news: it is passed
// over. Created timestamps (OpenMetrics, _created) and process_start_time_seconds tell a restart
// and a birth. A bound le is always written as OpenMetrics writes it: le="1.0", never le="1".
//
// A target is asked for text, or for protobuf first where a question is about latency: native
// histograms are in no text. Of a histogram that comes in both shapes the classic buckets answer
// where the threshold is one of their bounds, exactly; else the native ones do, interpolated.
//
// State between turns is one increments.Memory a question, and the answers of two hours.
package scrape
