// Package provision puts monitors, dashboards, SLOs and their corrections into Datadog, and keeps them
// as they should be. Of the rooms that write for others it is the one that talks.
//
//	wanted ─┐
//	state ──┼─▶ Plan: lists, reads, validates, compares ──▶ steps, to be read ──▶ Apply: writes
//	Datadog ┘                                                                     state after every step
//
// What it may touch carries its mark: the tags managed_by:yoyu and yoyu_id:KEY, on a dashboard and a
// correction the end of the description. Nothing else is ever changed or deleted, not even what the state
// file knows by its id.
//
// Applied twice it writes nothing. An object is compared by what yoyu says of it: all that Datadog
// or a person adds beside that may stay, what differs is shown and restored. Killed anywhere and run
// again it makes nothing twice: that an object is about to be made is written down before, its id
// after, and one whose answer was lost is looked for by its mark. A listing that is empty although
// the state knows objects is not believed: to believe it would be to make everything a second time.
package provision

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/yoyu-sre/yoyu/internal/datadogapi"
)

// Kind is a kind of object.
type Kind string

// The kinds of objects.
const (
	Monitor    Kind = "monitor"
	Dashboard  Kind = "dashboard"
	SLO        Kind = "slo"
	Correction Kind = "correction" // of an SLO
)

// kinds are in the order in which objects are made; they are deleted in the opposite one, so that
// nothing is deleted that something else shows.
var kinds = []Kind{SLO, Correction, Monitor, Dashboard}

// Object is one thing that should be in Datadog.
type Object struct {
	Kind Kind
	Key  string         // unique in its kind; part of the mark, so it never changes
	Body map[string]any // as Datadog's API takes it, its mark included; of a correction the attributes
	Of   string         // key of the SLO that a correction is of: its id may not be known before it is made
}

// Options are what a Provisioner is made from.
type Options struct {
	API      *datadogapi.Client
	Wanted   []Object
	State    string // path of the file that remembers ids
	Within   string // tells organisations of one address apart in that file; "": it has one
	Prune    bool   // delete what carries the mark and is not wanted any more
	Recreate bool   // believe an empty listing: everything was deleted on purpose
}

// Provisioner compares and writes.
type Provisioner struct {
	Options
	state *state
}

// New makes a provisioner. It reads the state and asks nothing.
func New(o Options) (*Provisioner, error) {
	where := o.API.Where()
	if o.Within != "" {
		where += " " + o.Within
	}
	s, err := readState(o.State, where)
	if err != nil {
		return nil, err
	}
	return &Provisioner{o, s}, nil
}

// Action is what a step does.
type Action string

// The actions of steps.
const (
	Create Action = "create"
	Update Action = "update"
	Delete Action = "delete"
	Keep   Action = "keep"  // it is as it should be
	Leave  Action = "leave" // it is not touched; the step says why
)

// Step is what is to be done about one object.
type Step struct {
	Action Action
	Kind   Kind
	Key    string
	ID     string         // "" for one that is to be made
	Diffs  []string       // what differs, a line each
	Why    string         // of Leave, Delete and Anew
	Body   map[string]any // what is to be written; nil for Delete, Keep and Leave
	Of     string         // key of the SLO that a correction is of
	Anew   bool           // an Update that deletes and makes: Datadog cannot change it into what is wanted
}

// Plan is what is to be done, in its order.
type Plan struct{ Steps []Step }

// Writes is how many steps change something.
func (p *Plan) Writes() int {
	n := 0
	for _, s := range p.Steps {
		if s.Action == Create || s.Action == Update || s.Action == Delete {
			n++
		}
	}
	return n
}

var signs = map[Action]string{Create: "+", Update: "~", Delete: "-", Keep: "=", Leave: "!"}

// Write prints the plan for people.
func (p *Plan) Write(w io.Writer) error {
	var b strings.Builder
	counts := map[Action]int{}
	for _, s := range p.Steps {
		counts[s.Action]++
		fmt.Fprintf(&b, "%s %s %s %s", signs[s.Action], s.Action, s.Kind, s.Key)
		if s.ID != "" {
			fmt.Fprintf(&b, " (%s)", s.ID)
		}
		if s.Why != "" {
			fmt.Fprintf(&b, ": %s", s.Why)
		}
		b.WriteByte('\n')
		for _, d := range s.Diffs {
			fmt.Fprintf(&b, "    %s\n", d)
		}
	}
	fmt.Fprintf(&b, "%d to create, %d to update, %d to delete, %d as they should be\n", counts[Create], counts[Update], counts[Delete], counts[Keep])
	_, err := io.WriteString(w, b.String())
	return err
}

// Plan compares what is wanted with what is there. It changes nothing, neither in Datadog nor in
// the state.
func (p *Provisioner) Plan(ctx context.Context) (*Plan, error) {
	found := map[Kind][]item{}
	for _, kind := range kinds {
		if !p.wantsAny(kind) && p.state.known(kind) == 0 && (kind != Correction || !p.wantsAny(SLO)) {
			continue // the key may not even be allowed to look
		}
		list, err := p.list(ctx, kind)
		if err != nil {
			return nil, err
		}
		found[kind] = list
	}
	if err := p.believe(found); err != nil {
		return nil, err
	}
	var plan Plan
	for _, kind := range kinds {
		for _, o := range p.Wanted {
			if o.Kind != kind {
				continue
			}
			if kind == Correction {
				of, known := stepOf(plan.Steps, SLO, o.Of)
				if !known {
					return nil, fmt.Errorf("correction %s: its SLO %s is not wanted", o.Key, o.Of)
				}
				if of.Action == Leave {
					plan.Steps = append(plan.Steps, Step{Action: Leave, Kind: kind, Key: o.Key, Why: "its SLO is not touched either"})
					continue
				}
				o.Body = maps.Clone(o.Body)
				if of.ID != "" {
					o.Body["slo_id"] = of.ID
				}
			}
			steps, err := p.step(ctx, o, found[kind])
			if err != nil {
				return nil, err
			}
			plan.Steps = append(plan.Steps, steps...)
		}
	}
	for _, kind := range slices.Backward(kinds) {
		for _, it := range found[kind] {
			if !p.wants(kind, it.key) {
				plan.Steps = append(plan.Steps, p.unwanted(kind, it, "it is not wanted any more"))
			}
		}
	}
	for _, s := range plan.Steps {
		if err := p.validate(ctx, s); err != nil {
			return nil, err
		}
	}
	return &plan, nil
}

// believe stops where a listing is empty and should not be.
func (p *Provisioner) believe(found map[Kind][]item) error {
	if p.Recreate {
		return nil
	}
	const remedy = "nothing was changed; run it again later, or with --recreate if they were deleted on purpose"
	for _, kind := range kinds {
		if n := p.state.known(kind); n > 0 && len(found[kind]) == 0 {
			return fmt.Errorf("%ss: the listing is empty, and %d of them are known by %s: %s", kind, n, p.State, remedy)
		}
	}
	if p.state.empty() { // another machine made them: the listings have nothing but each other
		for _, kind := range []Kind{Monitor, Dashboard} {
			other := Dashboard
			if kind == Dashboard {
				other = Monitor
			}
			if p.wantsAny(kind) && len(found[kind]) == 0 && len(found[other]) > 0 {
				return fmt.Errorf("%ss: the listing is empty, and that of %ss is not: %s", kind, other, remedy)
			}
		}
	}
	return nil
}

// stepOf is the step about a wanted object; those about others with its mark come after it.
func stepOf(steps []Step, kind Kind, key string) (Step, bool) {
	i := slices.IndexFunc(steps, func(s Step) bool { return s.Kind == kind && s.Key == key })
	if i < 0 {
		return Step{}, false
	}
	return steps[i], true
}

func (p *Provisioner) wants(kind Kind, key string) bool {
	return slices.ContainsFunc(p.Wanted, func(o Object) bool { return o.Kind == kind && o.Key == key })
}

func (p *Provisioner) wantsAny(kind Kind) bool {
	return slices.ContainsFunc(p.Wanted, func(o Object) bool { return o.Kind == kind })
}

func (p *Provisioner) unwanted(kind Kind, it item, why string) Step {
	s := Step{Action: Leave, Kind: kind, Key: it.key, ID: it.id, Why: why + "; --prune deletes it"}
	if p.Prune {
		s.Action, s.Why = Delete, why
	}
	return s
}

// step is what is to be done about one wanted object.
func (p *Provisioner) step(ctx context.Context, o Object, found []item) ([]Step, error) {
	var same []item
	for _, it := range found {
		if it.key == o.Key {
			same = append(same, it)
		}
	}
	entry := p.state.get(o.Kind, o.Key)
	if len(same) == 0 && entry.Pending { // it was about to be made when the process ended
		it, err := p.appears(ctx, o.Kind, o.Key, "")
		if err != nil {
			return nil, err
		}
		if it != nil {
			same = append(same, *it)
		}
	}
	id := entry.ID
	if len(same) > 0 && !slices.ContainsFunc(same, func(it item) bool { return it.id == id }) {
		id = same[0].id // the oldest
	}
	create := Step{Action: Create, Kind: o.Kind, Key: o.Key, Body: o.Body, Of: o.Of}
	if id == "" {
		return []Step{create}, nil
	}
	theirs, err := p.read(ctx, o.Kind, id, len(same) > 0 || entry.fresh())
	if err != nil {
		return nil, err
	}
	if theirs == nil {
		return []Step{create}, nil
	}
	if key, ok := markOf(o.Kind, theirs); !ok || key != o.Key {
		return []Step{{Action: Leave, Kind: o.Kind, Key: o.Key, ID: id, Why: "it does not carry its mark any more, so it belongs to somebody else; give it back, or delete it"}}, nil
	}
	out := []Step{{Action: Keep, Kind: o.Kind, Key: o.Key, ID: id}}
	if diffs := differences(o.Body, theirs); len(diffs) > 0 {
		out[0].Action, out[0].Diffs, out[0].Body, out[0].Of = Update, diffs, merged(o, theirs), o.Of
	}
	if o.Kind == Correction {
		out[0].anew(o, theirs)
	}
	for _, it := range same {
		if it.id != id {
			out = append(out, p.unwanted(o.Kind, it, "it carries the same mark as "+id))
		}
	}
	return out, nil
}

// anew makes an update of a correction one that deletes it and makes another, where Datadog cannot
// change one into the other: one belongs to an SLO for good, and recurs or does not.
func (s *Step) anew(o Object, theirs map[string]any) {
	switch wanted, have := o.Body["slo_id"], text(theirs["slo_id"]); {
	case wanted == nil:
		s.Why = "its SLO is made anew"
		s.Diffs = append(s.Diffs, fmt.Sprintf("slo_id: is %q, want that of the new one", have))
	case wanted != have:
		s.Why = "it is of another SLO"
	case (o.Body["rrule"] == nil) != (text(theirs["rrule"]) == ""):
		s.Why = "it recurs or does not for good"
		if o.Body["rrule"] == nil {
			s.Diffs = append(s.Diffs, fmt.Sprintf("rrule: is %q, want absent", text(theirs["rrule"])))
		}
	default:
		return
	}
	s.Action, s.Anew, s.Body, s.Of = Update, true, o.Body, o.Of
	s.Why += ", so it is deleted and made again"
}

// waits are how long it is waited for what may not be visible yet: half a minute in all.
var waits = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second}

// appears lists until an object shows, or does not in the time that a listing may lag behind. The
// one that was deleted before it was made may still be listed, and is none.
func (p *Provisioner) appears(ctx context.Context, kind Kind, key, deleted string) (*item, error) {
	for i := 0; ; i++ {
		list, err := p.list(ctx, kind)
		if err != nil {
			return nil, err
		}
		for _, it := range list {
			if it.key == key && it.id != deleted {
				return &it, nil
			}
		}
		if i == len(waits) {
			return nil, nil
		}
		if err := sleep(ctx, waits[i]); err != nil {
			return nil, err
		}
	}
}

// read fetches an object by its id; nil when there is none. One that must be there may only not be
// visible yet.
func (p *Provisioner) read(ctx context.Context, kind Kind, id string, must bool) (map[string]any, error) {
	for i := 0; ; i++ {
		body, err := p.fetch(ctx, kind, id)
		if datadogapi.Status(err) != http.StatusNotFound {
			return body, err
		}
		if !must || i == len(waits) {
			return nil, nil
		}
		if err := sleep(ctx, waits[i]); err != nil {
			return nil, err
		}
	}
}

// Apply carries a plan out, step by step. After an error it can be planned and applied again.
func (p *Provisioner) Apply(ctx context.Context, plan *Plan) error {
	for _, s := range plan.Steps {
		var err error
		switch s.Action {
		case Create:
			err = p.create(ctx, s)
		case Update:
			err = p.update(ctx, s)
		case Delete:
			err = p.remove(ctx, s)
		case Keep:
			if p.state.get(s.Kind, s.Key).ID != s.ID {
				err = p.state.set(s.Kind, s.Key, entry{ID: s.ID})
			}
		case Leave:
		}
		if err != nil {
			return err
		}
	}
	return p.state.keep(func(kind Kind, key string) bool {
		return p.wants(kind, key) || slices.ContainsFunc(plan.Steps, func(s Step) bool { return s.Action == Leave && s.Kind == kind && s.Key == key })
	})
}

func (s Step) name() string { return fmt.Sprintf("%s %s", s.Kind, s.Key) }

// update writes an object over, or puts another in its place.
func (p *Provisioner) update(ctx context.Context, s Step) error {
	if s.Anew {
		if err := p.remove(ctx, s); err != nil {
			return err
		}
		return p.create(ctx, s)
	}
	method, body := http.MethodPut, s.Body
	if s.Kind == Correction {
		attributes := maps.Clone(body)
		delete(attributes, "slo_id") // which never changes
		method, body = http.MethodPatch, envelope(attributes)
	}
	if err := p.call(ctx, s.name(), method, s.Kind.path()+"/"+s.ID, nil, body, nil); err != nil {
		return err
	}
	return p.state.set(s.Kind, s.Key, entry{ID: s.ID})
}

var duplicateOf = regexp.MustCompile(`Duplicate of an existing monitor_id:(\d+)`)

// create makes an object, once: when nobody can say whether it was made, it is looked for.
func (p *Provisioner) create(ctx context.Context, s Step) error {
	body := s.Body
	if s.Kind == Correction {
		attributes := maps.Clone(body)
		if attributes["slo_id"] = p.state.get(SLO, s.Of).ID; attributes["slo_id"] == "" {
			return datadogapi.Failed(s.name(), "other", "its SLO %s was not made", s.Of)
		}
		body = envelope(attributes)
	}
	if err := p.state.set(s.Kind, s.Key, entry{Pending: true}); err != nil {
		return err
	}
	var answer map[string]any
	err := p.attempt(ctx, s.name(), func() error {
		return p.API.Do(ctx, s.name(), http.MethodPost, s.Kind.path(), nil, body, &answer)
	}, func(err error) bool { return datadogapi.Status(err) == http.StatusTooManyRequests })
	id := ""
	switch {
	case err == nil:
		if id = idOf(s.Kind, answer); id == "" {
			return datadogapi.Failed(s.name(), "decode", "it was made, and the answer does not say its id; run it again")
		}
	case ctx.Err() != nil:
		return err
	case duplicateOf.MatchString(err.Error()):
		id = duplicateOf.FindStringSubmatch(err.Error())[1]
		theirs, readErr := p.read(ctx, s.Kind, id, true)
		if readErr != nil {
			return readErr
		}
		if key, ok := markOf(s.Kind, theirs); !ok || key != s.Key {
			_ = p.state.set(s.Kind, s.Key, entry{}) // it was not made; what matters is err
			return fmt.Errorf("%w: that one is not yoyu's", err)
		}
	case datadogapi.Lost(err):
		it, lookErr := p.appears(ctx, s.Kind, s.Key, s.ID)
		if lookErr != nil || it == nil {
			return errors.Join(fmt.Errorf("%w: it may have been made or not; run it again", err), lookErr)
		}
		id = it.id
	default:
		_ = p.state.set(s.Kind, s.Key, entry{}) // it was refused; what matters is err
		return err
	}
	return p.state.set(s.Kind, s.Key, entry{ID: id, Made: time.Now().UTC()})
}

// remove deletes an object that still carries the mark.
func (p *Provisioner) remove(ctx context.Context, s Step) error {
	body, err := p.read(ctx, s.Kind, s.ID, false)
	if err != nil {
		return err
	}
	if key, ok := markOf(s.Kind, body); body == nil || !ok || key != s.Key {
		return nil // somebody was faster
	}
	err = p.call(ctx, s.name(), http.MethodDelete, s.Kind.path()+"/"+s.ID, nil, nil, nil)
	if datadogapi.Status(err) == http.StatusNotFound {
		err = nil // the first answer was lost
	}
	if err != nil || p.wants(s.Kind, s.Key) {
		return err
	}
	return p.state.set(s.Kind, s.Key, entry{})
}

// call is one request that may be made again: it does the same however often it is made.
func (p *Provisioner) call(ctx context.Context, what, method, path string, query map[string][]string, body, out any) error {
	return p.attempt(ctx, what, func() error { return p.API.Do(ctx, what, method, path, query, body, out) }, func(err error) bool {
		status := datadogapi.Status(err)
		return status == http.StatusTooManyRequests || datadogapi.Lost(err)
	})
}

// attempt tries a few times while it is worth it.
func (p *Provisioner) attempt(ctx context.Context, what string, try func() error, again func(error) bool) error {
	for i := 0; ; i++ {
		err := try()
		if err == nil || ctx.Err() != nil || i == 3 || !again(err) {
			return err
		}
		wait := waits[i]
		var e *datadogapi.Error
		if errors.As(err, &e) && e.Status == http.StatusTooManyRequests {
			if reset, convErr := strconv.Atoi(e.Header.Get("X-Ratelimit-Reset")); convErr == nil && reset >= 0 {
				if wait = time.Duration(reset) * time.Second; wait > time.Minute {
					return err // too long to sit and wait
				}
			}
		}
		if err := sleep(ctx, wait); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
