package cloudwatch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const (
	// answerBytes is the longest answer that is read: 100,800 points are some 2 MiB.
	answerBytes = 64 << 20

	// answerTime is how long one request may take.
	answerTime = time.Minute
)

// clients are the services that are asked, with the credentials of one chain.
type clients struct {
	metrics *cloudwatch.Client
	ecs     *ecs.Client
	tags    *resourcegroupstaggingapi.Client
}

// connect reads the environment and the shared files; it asks nobody, unless a profile says so.
func connect(ctx context.Context, c Config, transport http.RoundTripper) (*clients, error) {
	// The agent that has a container's credentials is on this machine: no proxy leads there.
	var client, agent aws.HTTPClient = awshttp.NewBuildableClient(), awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.Proxy = nil })
	if transport != nil {
		client = &http.Client{Transport: transport}
		agent = client
	}
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(client),
		config.WithLogger(logging.Nop{}), // what matters comes as an error
		config.WithRetryer(func() aws.Retryer { return retry.NewStandard(once) }),
		config.WithEndpointCredentialOptions(func(o *endpointcreds.Options) { o.HTTPClient = limited{agent, answerBytes} }),
	}
	if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	if c.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(c.Profile))
	}
	settings, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fault(ctx, "configuration", err)
	}
	if settings.Region == "" {
		return nil, failed("configuration", "other", "nobody says which region: write region, or set AWS_REGION")
	}
	settings.HTTPClient = limited{settings.HTTPClient, answerBytes} // around the SDK's own, which knows AWS_CA_BUNDLE
	if c.RoleARN != "" {
		role := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(settings), c.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "yoyu"
			if c.ExternalID != "" {
				o.ExternalID = &c.ExternalID
			}
		})
		settings.Credentials = aws.NewCredentialsCache(role)
	}
	return &clients{
		metrics: cloudwatch.NewFromConfig(settings, func(o *cloudwatch.Options) {
			if c.URL != "" {
				o.BaseEndpoint = &c.URL
			}
		}),
		ecs: ecs.NewFromConfig(settings), tags: resourcegroupstaggingapi.NewFromConfig(settings),
	}, nil
}

// once has the SDK try again what was lost on the way. What was throttled it hands over, so that all
// requests of the source wait, and not each of them by itself.
func once(o *retry.StandardOptions) {
	o.MaxAttempts = 3
	o.Retryables = []retry.IsErrorRetryable{
		retry.NoRetryCanceledError{},
		retry.RetryableConnectionError{},
		retry.RetryableHTTPStatusCode{Codes: map[int]struct{}{500: {}, 502: {}, 503: {}, 504: {}}},
		retry.RetryableErrorCode{Codes: retry.DefaultRetryableErrorCodes},
	}
}

// Error is a failure of AWS, or on the way there.
type Error struct {
	What   string // what was asked, such as "metric data"
	Text   string // why it failed, for people; one line
	Code   string // AWS' own word, such as AccessDenied; "" when it said none
	reason string
	err    error
}

func (e *Error) Error() string { return e.What + ": " + e.Text }

// Unwrap is what it was made from; nil where that holds more than people should see.
func (e *Error) Unwrap() error { return e.err }

// Reason is a word of a closed list: timeout, refused, http_4xx, http_5xx, decode, limit, partial or
// other.
func (e *Error) Reason() string { return e.reason }

func failed(what, reason, format string, args ...any) *Error {
	return &Error{What: what, reason: reason, Text: line(fmt.Sprintf(format, args...))}
}

// allowed are the rights that each request needs, as IAM calls them: the policies in deploy name
// these and no others.
var allowed = map[string]string{
	"metric data": "cloudwatch:GetMetricData",
	"metrics":     "cloudwatch:ListMetrics",
	"services":    "ecs:DescribeServices",
	"tags":        "tag:GetResources",
}

var throttles = retry.ThrottleErrorCode{Codes: retry.DefaultThrottleErrorCodes}

// throttled reports whether AWS said that there were too many requests.
func throttled(err error) bool {
	var said smithy.APIError
	return throttles.IsErrorThrottle(err) == aws.TrueTernary || errors.As(err, &said) && said.ErrorCode() == "LimitExceededFault"
}

// fault turns what the SDK returned for a request with ctx into an *Error; nil when it succeeded.
func fault(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	e := &Error{What: what, reason: "other", err: err}
	var said smithy.APIError
	var answer *smithyhttp.ResponseError
	var undecoded *smithy.DeserializationError
	var tooLong *http.MaxBytesError
	var network net.Error
	who := "does the role allow " + allowed[what] + "?"
	_, asked, lost := strings.Cut(err.Error(), "get identity: ") // by the SDK, before it asks anything
	if lost {
		e.What, who = "credentials", "does the role's trust policy name who asks?"
	}
	status := 0
	if errors.As(err, &answer) {
		status = answer.HTTPStatusCode()
	}
	switch {
	case errors.As(err, &tooLong):
		e.Text, e.reason = fmt.Sprintf("the answer is longer than %d MiB", tooLong.Limit>>20), "limit"
	case throttled(err):
		e.Text, e.reason = "AWS throttles: the account has asked for more than its quota", "limit"
	case errors.As(err, &said) && said.ErrorCode() != "" && said.ErrorCode() != "UnknownError":
		e.Code = said.ErrorCode()
		e.Text, e.reason = e.Code, "http_4xx"
		if text := said.ErrorMessage(); text != "" && text != "UnknownError" {
			e.Text += ": " + text
		}
		if status >= 500 || said.ErrorFault() == smithy.FaultServer {
			e.reason = "http_5xx"
		}
		if strings.Contains(e.Code, "AccessDenied") && (lost || allowed[what] != "") {
			e.Text += ": " + who
		}
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Text, e.reason = "connection refused", "refused"
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		e.Text = "cancelled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		e.Text, e.reason = "no answer in time", "timeout"
	case status >= 300 && status < 400:
		e.Text, e.reason = fmt.Sprintf("%d %s: it is not followed; write the address as url", status, http.StatusText(status)), "redirect"
	case status >= 400 && status < 500:
		e.Text, e.reason = fmt.Sprintf("%d %s", status, http.StatusText(status)), "http_4xx"
	case status >= 500:
		e.Text, e.reason = fmt.Sprintf("%d %s", status, http.StatusText(status)), "http_5xx"
	case errors.As(err, &undecoded):
		e.Text, e.reason = "the answer is not what AWS says", "decode"
	case lost:
		e.Text = strings.TrimPrefix(asked, "get credentials: ")
	default:
		e.Text = err.Error()
	}
	e.Text = line(e.Text)
	return e
}

// code is AWS' own word for an error; "" when it said none.
func code(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// line makes one line of a text, not too long.
func line(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if r := []rune(text); len(r) > 300 {
		text = string(r[:299]) + "…"
	}
	return text
}

// limited reads no more of an answer than was foreseen.
type limited struct {
	aws.HTTPClient
	most int64
}

func (l limited) Do(request *http.Request) (*http.Response, error) {
	response, err := l.HTTPClient.Do(request)
	if err == nil {
		response.Body = http.MaxBytesReader(nil, response.Body, l.most)
	}
	return response, err
}
