// Package cloudwatch is a fake of one region of AWS, for tests: CloudWatch's GetMetricData and
// ListMetrics, the services that say which resources there are (tags, ECS), and those that hand out
// credentials (STS, EKS Pod Identity, the ECS agent).
//
// It speaks what the SDK speaks, by other libraries than the SDK's: Smithy RPC v2 in CBOR for
// CloudWatch and tags, JSON 1.1 for ECS, the query protocol for STS. A test beside it holds its fields
// against the SDK's own model. It is as unkind as the real one: it checks every signature, pages,
// throttles, calls answers partial, shows points late, forgets by its retention rules, and does not
// publish errors that did not happen.
//
//	request ──▶ fault? ──▶ signature ──▶ quota ──▶ operation ──▶ answer, paged
//	                                                  ▲
//	          Put, Balancer, Group, Service ──▶ store, visible later
//
// Time is a clock that is handed in. Nothing here is AWS' own code.
package cloudwatch

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Account and Region are where everything lives.
const (
	Account = "123456789012"
	Region  = "ap-northeast-1"
)

// The credentials that are accepted from the beginning, for good.
const (
	AccessKey = "AKIAIOSFODNN7EXAMPLE"
	SecretKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

// Options are what a fake is made of. The zero value is fine, but for the clock.
type Options struct {
	Clock    func() time.Time // nil: the machine's
	Seed     uint64           // of ids
	Visible  time.Duration    // from a point's minute's end to its first appearance
	PageSize int              // points of one page; 0: 100,800, what CloudWatch gives at most
	Quota    int              // requests of GetMetricData in one second; 0: as many as come
	Lifetime time.Duration    // of credentials that are handed out; 0: an hour
	Session  string           // path of the ECS agent's credentials; "": /v2/credentials/task
	Silent   bool             // a load balancer without requests publishes no RequestCount, as an older guide has it
}

// Cloud is one region. Its methods may be called while it serves.
type Cloud struct {
	URL string // of the server that Start began; without a slash at the end

	options Options

	mu       sync.Mutex
	random   *rand.Rand
	metrics  map[string]*series
	faults   []*Fault
	journal  []Request
	keys     map[string]*issued
	tokens   map[string]time.Time // web identity and Pod Identity tokens that are accepted, and until when
	services []*Service
	tagged   []resource
	second   int64 // of the quota
	used     int
}

// Request is one request with what became of it.
type Request struct {
	At        time.Time
	Host      string
	Operation string // GetMetricData, AssumeRoleWithWebIdentity, or the path of one for credentials
	AccessKey string // that signed it; "" where none did
	Token     string // web identity token, or the Authorization of a request for credentials
	Queries   int    // of GetMetricData
	Start     time.Time
	Periods   []int32 // that were asked for, each once
	Metrics   []string
	Status    int
}

// Fault is something that goes wrong.
type Fault struct {
	Operation string  // "": any but those for credentials
	Metric    string  // only where it is asked for; "": always
	Chance    float64 // 0: always
	Times     int     // so many times; 0: for good
	Code      string  // of the error, such as ThrottlingException
	Status    int     // of the answer; 0: 400
	Result    string  // in place of an error: the StatusCode of the metric's result
}

// New makes a fake without a server: it is an http.Handler.
func New(o Options) *Cloud {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.PageSize == 0 {
		o.PageSize = mostPoints
	}
	if o.Lifetime == 0 {
		o.Lifetime = time.Hour
	}
	if o.Session == "" {
		o.Session = "/v2/credentials/task"
	}
	return &Cloud{
		options: o, random: rand.New(rand.NewPCG(o.Seed, 8)), metrics: map[string]*series{},
		keys:   map[string]*issued{AccessKey: {id: AccessKey, secret: SecretKey}},
		tokens: map[string]time.Time{},
	}
}

// Start makes a fake with a server, which ends with the test.
func Start(t testing.TB, o Options) *Cloud {
	t.Helper()
	c := New(o)
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

// Transport answers whatever host is asked, without a network.
func (c *Cloud) Transport() http.RoundTripper { return transport{c} }

type transport struct{ c *Cloud }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	in := r.Clone(r.Context())
	if in.Host == "" {
		in.Host = in.URL.Host
	}
	if in.Method == "" {
		in.Method = http.MethodGet
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	t.c.ServeHTTP(w, in)
	out := w.Result()
	out.Request = r
	return out, nil
}

// Fault adds one.
func (c *Cloud) Fault(f Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, &f)
}

// Heal takes all faults away.
func (c *Cloud) Heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = nil
}

// Journal is every request so far; of some operations only where they are named.
func (c *Cloud) Journal(operations ...string) []Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Request
	for _, r := range c.journal {
		if len(operations) == 0 || slices.Contains(operations, r.Operation) {
			out = append(out, r)
		}
	}
	return out
}

// refusal is an error as a service says it.
type refusal struct {
	status  int
	code    string // as the query protocol has it
	shape   string // as the model has it
	message string
}

func (e *refusal) Error() string { return e.code + ": " + e.message }

func refuse(code, format string, args ...any) *refusal {
	return &refusal{status: http.StatusBadRequest, code: code, message: fmt.Sprintf(format, args...)}
}

// protocol is how one service reads and answers.
type protocol struct {
	read  func(r *http.Request, body []byte) (operation string, err *refusal)
	write func(w http.ResponseWriter, out any)
	fail  func(w http.ResponseWriter, e *refusal)
}

func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "the body broke off", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	entry := Request{At: c.options.Clock(), Host: r.Host}
	out := &recorder{ResponseWriter: w}
	defer func() {
		entry.Status = out.status
		c.journal = append(c.journal, entry)
	}()
	if r.Method == http.MethodGet {
		c.credentials(out, r, &entry)
		return
	}
	p, service := protocolOf(r)
	if p == nil {
		http.Error(out, "nobody speaks so here", http.StatusNotFound)
		return
	}
	operation, refused := p.read(r, body)
	entry.Operation = operation
	if refused == nil && operation != "AssumeRoleWithWebIdentity" {
		entry.AccessKey, refused = c.verify(r, body, service)
	}
	var answer any
	if refused == nil {
		answer, refused = c.operate(operation, body, &entry)
	}
	if refused != nil {
		p.fail(out, refused)
		return
	}
	p.write(out, answer)
}

// operate runs an operation.
func (c *Cloud) operate(operation string, body []byte, entry *Request) (any, *refusal) {
	switch operation {
	case "GetMetricData":
		return c.getMetricData(body, entry)
	case "ListMetrics":
		return c.listMetrics(body)
	case "GetResources":
		return c.getResources(body)
	case "DescribeServices":
		return c.describeServices(body)
	case "AssumeRoleWithWebIdentity", "AssumeRole":
		return c.assumeRole(operation, body, entry)
	}
	return nil, refuse("InvalidAction", "there is no operation %s", operation)
}

// strikes is the fault that acts on an operation.
func (c *Cloud) strikes(operation string, metrics []string, result bool) *Fault {
	for _, f := range c.faults {
		if f.Operation != "" && f.Operation != operation || (f.Result != "") != result || f.Times < 0 {
			continue
		}
		if f.Metric != "" && !slices.Contains(metrics, f.Metric) || f.Chance > 0 && c.random.Float64() >= f.Chance {
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				f.Times = -1
			}
		}
		return f
	}
	return nil
}

func (f *Fault) refusal() *refusal {
	e := &refusal{status: f.Status, code: f.Code, message: "a fault of the test"}
	if e.status == 0 {
		e.status = http.StatusBadRequest
	}
	if strings.HasPrefix(e.code, "Throttling") {
		e.message = "Rate exceeded"
	}
	return e
}

type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// id is a part of a name as AWS makes them.
func (c *Cloud) id(length int, letters string) string {
	var b bytes.Buffer
	for range length {
		b.WriteByte(letters[c.random.IntN(len(letters))])
	}
	return b.String()
}
