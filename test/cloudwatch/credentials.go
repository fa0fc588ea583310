package cloudwatch

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// issued are credentials that were handed out.
type issued struct {
	id, secret, session string
	expires             time.Time // zero: never
}

// Trust accepts a token of a service account, for STS and for Pod Identity, until a moment.
func (c *Cloud) Trust(token string, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens[token] = until
}

// issue hands out new credentials.
func (c *Cloud) issue() *issued {
	const capitals, letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	k := &issued{
		id: "ASIA" + c.id(16, capitals), secret: c.id(40, letters), session: c.id(120, letters),
		expires: c.options.Clock().Add(c.options.Lifetime).UTC().Truncate(time.Second),
	}
	c.keys[k.id] = k
	return k
}

// trusted says whether a token is accepted now.
func (c *Cloud) trusted(token string) *refusal {
	until, known := c.tokens[token]
	switch {
	case !known:
		return refuse("InvalidIdentityToken", "No OpenIDConnect provider found in your account for the token")
	case c.options.Clock().After(until):
		return refuse("ExpiredTokenException", "Token expired")
	}
	return nil
}

// assumeRole is STS: by a token, or by credentials that were verified already.
func (c *Cloud) assumeRole(operation string, body []byte, entry *Request) (any, *refusal) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, refuse("InvalidAction", "%s", err)
	}
	if !strings.HasPrefix(form.Get("RoleArn"), "arn:aws:iam::") || form.Get("RoleSessionName") == "" {
		return nil, refuse("ValidationError", "RoleArn and RoleSessionName are required")
	}
	if f := c.strikes(operation, nil, false); f != nil && f.Operation != "" {
		return nil, f.refusal()
	}
	if operation == "AssumeRoleWithWebIdentity" {
		entry.Token = form.Get("WebIdentityToken")
		if e := c.trusted(entry.Token); e != nil {
			return nil, e
		}
	}
	k := c.issue()
	type credentials struct {
		AccessKeyID     string `xml:"AccessKeyId"`
		SecretAccessKey string
		SessionToken    string
		Expiration      string
	}
	type user struct {
		Arn           string
		AssumedRoleID string `xml:"AssumedRoleId"`
	}
	type result struct {
		XMLName         xml.Name
		AssumedRoleUser user
		Credentials     credentials
	}
	return struct {
		XMLName xml.Name
		Result  result
	}{
		XMLName: xml.Name{Space: "https://sts.amazonaws.com/doc/2011-06-15/", Local: operation + "Response"},
		Result: result{
			XMLName:         xml.Name{Local: operation + "Result"},
			AssumedRoleUser: user{strings.Replace(form.Get("RoleArn"), ":iam:", ":sts:", 1) + "/" + form.Get("RoleSessionName"), "AROA:" + form.Get("RoleSessionName")},
			Credentials:     credentials{k.id, k.secret, k.session, k.expires.Format(time.RFC3339)},
		},
	}, nil
}

// credentials are what an agent beside the task or pod hands out: that of EKS Pod Identity for a token,
// that of ECS for knowing the path.
func (c *Cloud) credentials(w http.ResponseWriter, r *http.Request, entry *Request) {
	entry.Operation, entry.Token = r.URL.Path, r.Header.Get("Authorization")
	say := func(status int, e *refusal) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"code": e.code, "message": e.message})
	}
	switch r.URL.Path {
	case "/v1/credentials":
		if e := c.trusted(entry.Token); e != nil {
			say(http.StatusBadRequest, e)
			return
		}
	case c.options.Session:
	default:
		say(http.StatusNotFound, refuse("NotFound", "there are no credentials at %s", r.URL.Path))
		return
	}
	k := c.issue()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{
		"AccessKeyId": k.id, "SecretAccessKey": k.secret, "Token": k.session, "Expiration": k.expires.Format(time.RFC3339),
		"AccountId": Account, "RoleArn": "arn:aws:iam::" + Account + ":role/yoyu",
	})
}

// verify checks a request's signature by "Create a signed AWS API request" (Signature Version 4).
func (c *Cloud) verify(r *http.Request, body []byte, service string) (key string, refused *refusal) {
	denied := func(code, text string) (string, *refusal) {
		e := refuse(code, "%s", text)
		e.status = http.StatusForbidden
		return "", e
	}
	fields := map[string]string{}
	algorithm, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	for _, one := range strings.Split(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(one), "=")
		fields[name] = value
	}
	scope := strings.Split(fields["Credential"], "/")
	if algorithm != "AWS4-HMAC-SHA256" || len(scope) != 5 {
		return denied("MissingAuthenticationToken", "Request is missing Authentication Token")
	}
	k := c.keys[scope[0]]
	date := r.Header.Get("X-Amz-Date")
	at, err := time.Parse("20060102T150405Z", date)
	switch {
	case k == nil || r.Header.Get("X-Amz-Security-Token") != k.session:
		return denied("UnrecognizedClientException", "The security token included in the request is invalid.")
	case err != nil || c.options.Clock().Sub(at).Abs() > 5*time.Minute:
		return denied("SignatureDoesNotMatch", "Signature expired")
	case !k.expires.IsZero() && !c.options.Clock().Before(k.expires):
		return denied("ExpiredTokenException", "The security token included in the request is expired")
	case scope[1] != date[:8] || scope[2] != Region || scope[3] != service || scope[4] != "aws4_request":
		return denied("SignatureDoesNotMatch", "Credential should be scoped to "+Region+" and "+service)
	}
	signed := strings.Split(fields["SignedHeaders"], ";")
	for _, name := range []string{"host", "x-amz-date"} {
		if !slices.Contains(signed, name) {
			return denied("SignatureDoesNotMatch", name+" is not signed")
		}
	}
	var b strings.Builder
	b.WriteString(r.Method + "\n" + r.URL.EscapedPath() + "\n" + r.URL.RawQuery + "\n")
	for _, name := range signed {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = r.Header.Get("Content-Length")
			if value == "" {
				value = itoa(len(body))
			}
		}
		b.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
	}
	b.WriteString("\n" + fields["SignedHeaders"] + "\n" + sum(body))
	text := "AWS4-HMAC-SHA256\n" + date + "\n" + strings.Join(scope[1:], "/") + "\n" + sum([]byte(b.String()))
	seal := []byte("AWS4" + k.secret)
	for _, part := range append(scope[1:], text) {
		seal = sign(seal, part)
	}
	if hex.EncodeToString(seal) != fields["Signature"] {
		return denied("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
	}
	return k.id, nil
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

func sign(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
