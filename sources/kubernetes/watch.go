package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// mirror holds the objects of one kind in one namespace, or in all, as they are now. A reflector
// lists them once and then follows their changes.
type mirror struct {
	kind      kind
	namespace string
	api       *server

	mu      sync.Mutex
	objects map[string]read // by namespace and name
	listed  bool            // all of them are there
	missing bool            // the server does not know the kind
	trouble error           // why it does not follow; nil while it does
	since   time.Time       // since when
	changed chan struct{}   // closed and made anew when one of these changes
}

var (
	_ cache.ReflectorStore           = (*mirror)(nil)
	_ cache.ListerWatcherWithContext = (*mirror)(nil)
)

func newMirror(k kind, namespace string, api *server) *mirror {
	return &mirror{kind: k, namespace: namespace, api: api, objects: map[string]read{}, changed: make(chan struct{})}
}

// follow keeps the mirror true until ctx ends.
func (m *mirror) follow(ctx context.Context) {
	silent := klog.Logger{} // what goes wrong is in trouble, and said once
	r := cache.NewReflectorWithOptions(m, &item{}, m, cache.ReflectorOptions{
		Name: m.kind.resource, TypeDescription: m.kind.name, Logger: &silent,
	})
	r.RunWithContext(klog.NewContext(ctx, silent))
}

// patience is for how long a mirror that cannot follow still counts as true.
const patience = 5 * time.Minute

// wait waits until the mirror holds all objects, or cannot: then it says why.
func (m *mirror) wait(ctx context.Context) error {
	for {
		m.mu.Lock()
		listed, trouble, since, changed := m.listed, m.trouble, m.since, m.changed
		m.mu.Unlock()
		switch {
		case trouble != nil && (!listed || time.Since(since) > patience):
			return trouble
		case listed:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s: not all are listed yet: %w", m.where(), context.Cause(ctx))
		}
	}
}

// where names the kind and the namespace in an error.
func (m *mirror) where() string { return where(m.kind, m.namespace) }

func where(k kind, namespace string) string {
	if namespace == "" {
		return k.resource + " in all namespaces"
	}
	return k.resource + " in namespace " + namespace
}

// put adds what the mirror holds.
func (m *mirror) put(o *objects) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.objects {
		o.put(one)
	}
}

// set changes what others wait for.
func (m *mirror) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
	close(m.changed)
	m.changed = make(chan struct{})
}

// went notes how a request ended.
func (m *mirror) went(err error) {
	m.set(func() {
		switch missing := (*missingError)(nil); {
		case err == nil:
			m.trouble, m.missing = nil, false
		case errors.As(err, &missing) && !m.kind.needed:
			// The kind may come later; until then there is nothing of it.
			m.trouble, m.missing, m.listed = nil, true, true
			clear(m.objects)
		default:
			if m.trouble == nil {
				m.since = time.Now()
			}
			m.trouble = fmt.Errorf("%s: %w", m.where(), err)
		}
	})
}

// ListWithContext lists everything for the reflector.
func (m *mirror) ListWithContext(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) {
	all := &itemList{}
	version, err := m.api.list(ctx, m.kind, m.namespace, func(raw json.RawMessage) error {
		one, err := m.decode(raw)
		if err == nil {
			all.Items = append(all.Items, *one)
		}
		return err
	})
	if ctx.Err() == nil {
		m.went(err)
	}
	if err != nil {
		return nil, err
	}
	all.ResourceVersion = version
	return all, nil
}

// WatchWithContext opens the stream of changes for the reflector.
func (m *mirror) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	resp, err := m.api.watch(ctx, m.kind, m.namespace, o) //nolint:bodyclose // the stream closes it
	if ctx.Err() == nil {
		m.went(err)
	}
	if err != nil {
		return nil, err
	}
	return watch.NewStreamWatcher(&stream{mirror: m, body: resp.Body, lines: json.NewDecoder(resp.Body)}, reporter{}), nil
}

// List is ListWithContext for callers that have no context; the reflector does.
func (m *mirror) List(o metav1.ListOptions) (runtime.Object, error) {
	return m.ListWithContext(context.Background(), o)
}

// Watch is WatchWithContext for callers that have no context; the reflector does.
func (m *mirror) Watch(o metav1.ListOptions) (watch.Interface, error) {
	return m.WatchWithContext(context.Background(), o)
}

// IsWatchListSemanticsUnSupported tells the reflector to list first: pages are small, and servers
// before Kubernetes 1.34 know nothing else.
func (m *mirror) IsWatchListSemanticsUnSupported() bool { return true }

// Add takes an object that came.
func (m *mirror) Add(obj any) error { return m.Update(obj) }

// Update takes an object that changed.
func (m *mirror) Update(obj any) error {
	one := obj.(*item)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[one.key()] = one.read
	return nil
}

// Delete drops an object that is gone.
func (m *mirror) Delete(obj any) error {
	one := obj.(*item)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, one.key())
	return nil
}

// Replace takes all objects in place of those before.
func (m *mirror) Replace(all []any, _ string) error {
	fresh := make(map[string]read, len(all))
	for _, obj := range all {
		one := obj.(*item)
		fresh[one.key()] = one.read
	}
	m.set(func() { m.objects, m.listed = fresh, true })
	return nil
}

// Resync has nothing to do: nobody is told of changes.
func (m *mirror) Resync() error { return nil }

// item is an object on its way through the reflector, with as much of its metadata as that wants.
type item struct {
	metav1.TypeMeta
	metav1.ObjectMeta
	read read
}

func (i *item) key() string { return i.Namespace + "/" + i.Name }

// DeepCopyObject hands out the item itself: nobody changes one.
func (i *item) DeepCopyObject() runtime.Object { return i }

// GetObjectKind is the object's kind; the reflector knows it by the type.
func (i *item) GetObjectKind() schema.ObjectKind { return &i.TypeMeta }

// itemList is a list on its way through the reflector.
type itemList struct {
	metav1.TypeMeta
	metav1.ListMeta
	Items []item
}

// DeepCopyObject hands out the list itself: nobody changes one.
func (l *itemList) DeepCopyObject() runtime.Object { return l }

// decode reads an object.
func (m *mirror) decode(raw json.RawMessage) (*item, error) {
	one, err := m.kind.decode(raw)
	if err != nil {
		return nil, fmt.Errorf("answer: %s: %w", named(m.kind, raw), err)
	}
	about := one.about()
	out := &item{read: one}
	out.Namespace, out.Name, out.ResourceVersion = about.Namespace, about.Name, about.Version
	return out, nil
}

// named is an object that cannot be read, as far as it says who it is.
func named(k kind, raw json.RawMessage) string {
	var head struct {
		Metadata struct {
			Namespace string `json:"namespace"`
			Name      string `json:"name"`
		} `json:"metadata"`
	}
	if json.Unmarshal(raw, &head) != nil {
		return k.name
	}
	return k.name + " " + head.Metadata.Namespace + "/" + head.Metadata.Name
}

// stream decodes the changes of a watch.
type stream struct {
	mirror *mirror
	body   io.ReadCloser
	lines  *json.Decoder
}

// Decode reads the next change.
func (s *stream) Decode() (watch.EventType, runtime.Object, error) {
	var event struct {
		Type   watch.EventType `json:"type"`
		Object json.RawMessage `json:"object"`
	}
	if err := s.lines.Decode(&event); err != nil {
		return "", nil, err
	}
	if event.Type == watch.Error {
		var status metav1.Status
		if err := json.Unmarshal(event.Object, &status); err != nil {
			return "", nil, fmt.Errorf("answer: %w", err)
		}
		return event.Type, &status, nil
	}
	one, err := s.mirror.decode(event.Object)
	if err != nil {
		return "", nil, err
	}
	return event.Type, one, nil
}

// Close ends the stream.
func (s *stream) Close() { s.body.Close() }

// reporter turns what went wrong in a stream into what the reflector reads.
type reporter struct{}

// AsObject is an error as the server would have said it.
func (reporter) AsObject(err error) runtime.Object {
	return &metav1.Status{Status: metav1.StatusFailure, Message: err.Error(), Code: 500, Reason: metav1.StatusReasonInternalError}
}
