package cloudwatch

import (
	"bytes"
	"context"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/schemas"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	tagschemas "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi/schemas"
	"github.com/aws/smithy-go"
)

// What the fake reads and says has the names that the SDK's model has: a field that the model does
// not know would be said into the void.
func TestModel(t *testing.T) {
	for _, c := range []struct {
		ours   any
		theirs *smithy.Schema
	}{
		{getMetricDataInput{}, schemas.GetMetricDataInput},
		{getMetricDataOutput{}, schemas.GetMetricDataOutput},
		{listMetricsInput{}, schemas.ListMetricsInput},
		{listMetricsOutput{}, schemas.ListMetricsOutput},
		{getResourcesInput{}, tagschemas.GetResourcesInput},
		{getResourcesOutput{}, tagschemas.GetResourcesOutput},
	} {
		compare(t, reflect.TypeOf(c.ours), c.theirs)
	}
	if got := schemas.GraniteServiceVersion20100801.Schema.ID().Name; got != metricsService {
		t.Errorf("the service is %s, not %s", got, metricsService)
	}
	if got := tagschemas.ResourceGroupsTaggingAPI_20170126.Schema.ID().Name; got != tagsService {
		t.Errorf("the service is %s, not %s", got, tagsService)
	}
}

func compare(t *testing.T, ours reflect.Type, theirs *smithy.Schema) {
	t.Helper()
	for ours.Kind() == reflect.Pointer || ours.Kind() == reflect.Slice {
		if ours.Kind() == reflect.Slice {
			theirs = theirs.ListMember()
		}
		ours = ours.Elem()
	}
	if ours.Kind() != reflect.Struct || ours == reflect.TypeFor[time.Time]() {
		return
	}
	if theirs.Type() != smithy.ShapeTypeStructure {
		t.Errorf("%s is a structure, and %s is none", ours, theirs.ID())
		return
	}
	for i := range ours.NumField() {
		name := ours.Field(i).Name
		member := theirs.Members()[name]
		if member == nil {
			t.Errorf("%s has no member %s", theirs.ID(), name)
			continue
		}
		compare(t, ours.Field(i).Type, member)
	}
}

// The SDK reads errors of each kind, by its own words.
func TestErrors(t *testing.T) {
	f := New(Options{})
	client := cloudwatch.New(cloudwatch.Options{
		Region: Region, Credentials: credentials.NewStaticCredentialsProvider(AccessKey, SecretKey, ""), HTTPClient: &http.Client{Transport: f.Transport()},
		Retryer: aws.NopRetryer{},
	})
	in := func(change func(*cloudwatch.GetMetricDataInput)) *cloudwatch.GetMetricDataInput {
		out := &cloudwatch.GetMetricDataInput{
			StartTime: aws.Time(time.Now().Add(-time.Hour)), EndTime: aws.Time(time.Now()),
			MetricDataQueries: []types.MetricDataQuery{{Id: aws.String("a"), MetricStat: &types.MetricStat{
				Metric: &types.Metric{Namespace: aws.String("Shop"), MetricName: aws.String("Requests")}, Period: aws.Int32(60), Stat: aws.String("Sum"),
			}}},
		}
		change(out)
		return out
	}
	for want, change := range map[string]func(*cloudwatch.GetMetricDataInput){
		"": func(*cloudwatch.GetMetricDataInput) {},
		"InvalidNextToken: the token is of another request":                      func(i *cloudwatch.GetMetricDataInput) { i.NextToken = aws.String("x") },
		"ValidationError: Period must be 1, 5, 10, 20, 30, or a multiple of 60.": func(i *cloudwatch.GetMetricDataInput) { i.MetricDataQueries[0].MetricStat.Period = aws.Int32(90) },
		"ValidationError: The value Median for parameter MetricDataQueries":      func(i *cloudwatch.GetMetricDataInput) { i.MetricDataQueries[0].MetricStat.Stat = aws.String("Median") },
		"ValidationError: The parameter StartTime must be less than the":         func(i *cloudwatch.GetMetricDataInput) { i.StartTime = aws.Time(time.Now().Add(time.Hour)) },
		"ValidationError: The collection MetricDataQueries must not have a size": func(i *cloudwatch.GetMetricDataInput) {
			i.MetricDataQueries = make([]types.MetricDataQuery, 501)
			fill(i)
		},
		"InvalidParameterValue: cbor: found unknown field at map element index": func(i *cloudwatch.GetMetricDataInput) {
			i.LabelOptions = &types.LabelOptions{Timezone: aws.String("+0900")}
		},
		"ValidationError: The value 1 for parameter MetricDataQueries.Id is not mat": func(i *cloudwatch.GetMetricDataInput) { i.MetricDataQueries[0].Id = aws.String("1") },
	} {
		_, err := client.GetMetricData(context.Background(), in(change))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	f.Fault(Fault{Operation: "GetMetricData", Code: "ThrottlingException", Times: 1})
	_, err := client.GetMetricData(context.Background(), in(func(*cloudwatch.GetMetricDataInput) {}))
	if err == nil || !strings.Contains(err.Error(), "ThrottlingException: Rate exceeded") {
		t.Errorf("%v", err)
	}
}

func fill(i *cloudwatch.GetMetricDataInput) {
	for n := range i.MetricDataQueries {
		i.MetricDataQueries[n] = types.MetricDataQuery{Id: aws.String("a" + strings.Repeat("b", n)), MetricStat: &types.MetricStat{
			Metric: &types.Metric{Namespace: aws.String("Shop"), MetricName: aws.String("Requests")}, Period: aws.Int32(60), Stat: aws.String("Sum"),
		}}
	}
}

// A signature by another secret, for another region or over another body is refused.
func TestSignature(t *testing.T) {
	f := New(Options{})
	ask := func(region, secret string, transport http.RoundTripper) error {
		client := cloudwatch.New(cloudwatch.Options{
			Region: region, Credentials: credentials.NewStaticCredentialsProvider(AccessKey, secret, ""), HTTPClient: &http.Client{Transport: transport}, Retryer: aws.NopRetryer{},
		})
		_, err := client.ListMetrics(context.Background(), &cloudwatch.ListMetricsInput{Namespace: aws.String("Shop")})
		return err
	}
	if err := ask(Region, SecretKey, f.Transport()); err != nil {
		t.Errorf("%v", err)
	}
	for name, err := range map[string]error{
		"another secret": ask(Region, "other", f.Transport()),
		"another region": ask("eu-west-1", SecretKey, f.Transport()),
		"another body":   ask(Region, SecretKey, tampered{f.Transport()}),
	} {
		if err == nil || !strings.Contains(err.Error(), "SignatureDoesNotMatch") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type tampered struct{ http.RoundTripper }

func (t tampered) RoundTrip(r *http.Request) (*http.Response, error) {
	var b bytes.Buffer
	if _, err := b.ReadFrom(r.Body); err != nil {
		return nil, err
	}
	changed := r.Clone(r.Context())
	changed.Body = http.NoBody
	if text := bytes.Replace(b.Bytes(), []byte("Shop"), []byte("Shoq"), 1); len(text) > 0 {
		changed.Body = readCloser{bytes.NewReader(text)}
	}
	return t.RoundTripper.RoundTrip(changed)
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

// What the guide to statistics says of each of them.
func TestStatistics(t *testing.T) {
	f := New(Options{})
	at := time.Now().Add(-time.Hour).Truncate(time.Minute)
	f.Put(Metric{"Shop", "Latency", nil}, Datum{At: at, Values: []float64{0.1, 0.3, 0.3, 0.5}})
	for stat, want := range map[string]float64{"Sum": 1.2, "SampleCount": 4, "Average": 0.3, "PR(:0.3)": 75, "PR(0.3:)": 25, "PR(:0.05)": 0, "TC(0.1:0.3)": 2} {
		_, got := f.points(&metricStat{Metric: metric{Namespace: "Shop", MetricName: "Latency"}, Period: 60, Stat: stat}, at, at.Add(time.Minute), time.Now())
		if len(got) != 1 || got[0]-want > 1e-9 || want-got[0] > 1e-9 {
			t.Errorf("%s is %v, want %g", stat, got, want)
		}
	}
}

// What is kept for how long, in which periods.
func TestKept(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	f := New(Options{Clock: func() time.Time { return now }})
	for _, age := range []time.Duration{day, 14 * day, 16 * day, 62 * day, 64 * day, 450 * day, 460 * day} {
		f.Count(Metric{"Shop", "Requests", nil}, now.Add(-age), 1)
	}
	for period, want := range map[int32]int{60: 2, 300: 4, 3600: 6} {
		got, _ := f.points(&metricStat{Metric: metric{Namespace: "Shop", MetricName: "Requests"}, Period: period, Stat: "Sum"}, now.Add(-461*day), now, now)
		if len(got) != want {
			t.Errorf("in periods of %d s there are %d points, want %d", period, len(got), want)
		}
	}
}
