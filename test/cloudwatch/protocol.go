package cloudwatch

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// The services by the names that the SDK has for them.
const (
	metricsService = "GraniteServiceVersion20100801"
	tagsService    = "ResourceGroupsTaggingAPI_20170126"
	ecsService     = "AmazonEC2ContainerServiceV20141113"
	stsVersion     = "2011-06-15"
)

var (
	strict = must(cbor.DecOptions{ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, DupMapKey: cbor.DupMapKeyEnforcedAPF}.DecMode())
	plain  = must(cbor.EncOptions{Time: cbor.TimeUnixMicro, TimeTag: cbor.EncTagRequired}.EncMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// protocolOf is what a request is spoken in, and the name of the service that its signature is for.
func protocolOf(r *http.Request) (*protocol, string) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/service/"+metricsService+"/operation/"):
		return rpc, "monitoring"
	case strings.HasPrefix(r.URL.Path, "/service/"+tagsService+"/operation/"):
		return rpc, "tagging"
	case strings.HasPrefix(r.Header.Get("X-Amz-Target"), ecsService+"."):
		return json11, "ecs"
	case r.URL.Path == "/" && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded"):
		return query, "sts"
	}
	return nil, ""
}

// rpc is Smithy RPC v2 in CBOR (smithy.io, "Smithy RPC v2 CBOR protocol"), with the header for those
// who knew the query protocol.
var rpc = &protocol{
	read: func(r *http.Request, _ []byte) (string, *refusal) {
		_, operation, _ := strings.Cut(r.URL.Path, "/operation/")
		if r.Header.Get("Smithy-Protocol") != "rpc-v2-cbor" || r.Header.Get("Content-Type") != "application/cbor" || r.Header.Get("Accept") != "application/cbor" {
			return operation, refuse("UnknownOperationException", "the headers are not those of RPC v2: %v", r.Header)
		}
		return operation, nil
	},
	write: func(w http.ResponseWriter, out any) {
		w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
		w.Header().Set("Content-Type", "application/cbor")
		_, _ = w.Write(must(plain.Marshal(out)))
	},
	fail: func(w http.ResponseWriter, e *refusal) {
		w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
		w.Header().Set("Content-Type", "application/cbor")
		side := "Sender"
		if e.status >= 500 {
			side = "Receiver"
		}
		w.Header().Set("X-Amzn-Query-Error", e.code+";"+side)
		w.WriteHeader(e.status)
		shape := e.shape
		if shape == "" {
			shape = e.code
		}
		member := "message"
		if shape == "InternalServiceFault" {
			member = "Message" // the model is not of one mind
		}
		_, _ = w.Write(must(plain.Marshal(map[string]string{"__type": "com.amazonaws.cloudwatch#" + shape, member: e.message})))
	},
}

// json11 is JSON 1.1.
var json11 = &protocol{
	read: func(r *http.Request, _ []byte) (string, *refusal) {
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		if r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
			return operation, refuse("SerializationException", "the body is no JSON 1.1")
		}
		return operation, nil
	},
	write: func(w http.ResponseWriter, out any) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_ = json.NewEncoder(w).Encode(out)
	},
	fail: func(w http.ResponseWriter, e *refusal) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(e.status)
		_ = json.NewEncoder(w).Encode(map[string]string{"__type": e.code, "message": e.message})
	},
}

// query is the query protocol: a form, answered in XML.
var query = &protocol{
	read: func(_ *http.Request, body []byte) (string, *refusal) {
		form, err := url.ParseQuery(string(body))
		if err != nil || form.Get("Version") != stsVersion {
			return "", refuse("InvalidAction", "the form has no version %s", stsVersion)
		}
		return form.Get("Action"), nil
	},
	write: func(w http.ResponseWriter, out any) {
		w.Header().Set("Content-Type", "text/xml")
		_, _ = w.Write(must(xml.Marshal(out)))
	},
	fail: func(w http.ResponseWriter, e *refusal) {
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(e.status)
		type said struct{ Type, Code, Message string }
		_, _ = w.Write(must(xml.Marshal(struct {
			XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
			Error     said
			RequestID string `xml:"RequestId"`
		}{Error: said{"Sender", e.code, e.message}, RequestID: "0"})))
	},
}

// decode reads a body strictly: a field that the fake does not know is an error, as it would be left
// out of the answer otherwise.
func decode(body []byte, into any) *refusal {
	if err := strict.Unmarshal(body, into); err != nil {
		return &refusal{status: http.StatusBadRequest, code: "InvalidParameterValue", shape: "InvalidParameterValueException", message: err.Error()}
	}
	return nil
}

// What GetMetricData and ListMetrics are asked and answer, by the names of the SDK's model.
type (
	getMetricDataInput struct {
		StartTime         *time.Time
		EndTime           *time.Time
		NextToken         string `cbor:",omitempty"`
		ScanBy            string `cbor:",omitempty"`
		MaxDatapoints     int    `cbor:",omitempty"`
		MetricDataQueries []metricDataQuery
	}
	metricDataQuery struct {
		Id         string
		MetricStat *metricStat
		ReturnData *bool `cbor:",omitempty"`
	}
	metricStat struct {
		Metric metric
		Period int32
		Stat   string
	}
	metric struct {
		Namespace  string
		MetricName string
		Dimensions []dimension `cbor:",omitempty"`
	}
	dimension struct {
		Name  string
		Value string `cbor:",omitempty"`
	}
	getMetricDataOutput struct {
		MetricDataResults []metricDataResult
		NextToken         string `cbor:",omitempty"`
	}
	metricDataResult struct {
		Id         string
		Label      string
		Timestamps []time.Time
		Values     []float64
		StatusCode string
	}
	listMetricsInput struct {
		Namespace      string
		MetricName     string
		Dimensions     []dimension
		NextToken      string
		RecentlyActive string
	}
	listMetricsOutput struct {
		Metrics   []metric
		NextToken string `cbor:",omitempty"`
	}
	getResourcesInput struct {
		ResourceTypeFilters []string
		TagFilters          []tagFilter
		PaginationToken     string
		ResourcesPerPage    int
	}
	tagFilter struct {
		Key    string
		Values []string
	}
	getResourcesOutput struct {
		ResourceTagMappingList []resourceTagMapping
		PaginationToken        string
	}
	resourceTagMapping struct {
		ResourceARN string
		Tags        []tag
	}
	tag struct{ Key, Value string }
)

func (m metric) key() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", m.Namespace, m.MetricName)
	for _, d := range m.Dimensions {
		fmt.Fprintf(&b, " %s=%s", d.Name, d.Value)
	}
	return b.String()
}
