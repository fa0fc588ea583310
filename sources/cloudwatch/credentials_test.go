package cloudwatch

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
	fake "github.com/yoyu-sre/yoyu/test/cloudwatch"
)

// environment is what a pod, a task or a laptop has, and nothing of the machine that tests run on.
func environment(t *testing.T, set map[string]string) {
	t.Helper()
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE",
		"AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_STS_REGIONAL_ENDPOINTS",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
		"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_CLOUDWATCH", "AWS_ENDPOINT_URL_STS",
	} {
		t.Setenv(name, set[name])
		if set[name] == "" {
			_ = os.Unsetenv(name) // t.Setenv puts it back
		}
	}
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		file := set[name]
		if file == "" {
			file = filepath.Join(t.TempDir(), "none")
		}
		t.Setenv(name, file)
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

// rotate puts a new token where the old one was, as a kubelet does: behind a symlink that is swapped.
func rotate(t *testing.T, file, token string) {
	t.Helper()
	folder := filepath.Dir(file)
	real := filepath.Join(folder, fmt.Sprintf("..%d", time.Now().UnixNano()))
	if err := os.WriteFile(real, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(folder, "..link")
	if err := os.Symlink(filepath.Base(real), link); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link, file); err != nil {
		t.Fatal(err)
	}
}

// A day with tokens that live for an hour and are replaced while requests go on: every minute is
// answered, each token is used before it expires, and none shows in an error.
func TestRotation(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "token")
	role := "arn:aws:iam::" + fake.Account + ":role/yoyu"
	for _, c := range []struct {
		name     string
		env      map[string]string
		exchange string // the operation that hands out credentials
		host     string
		rotates  bool
		assume   string // role_arn of the configuration
	}{
		{name: "IRSA", exchange: "AssumeRoleWithWebIdentity", host: "sts." + fake.Region + ".amazonaws.com", rotates: true, env: map[string]string{
			"AWS_ROLE_ARN": role, "AWS_WEB_IDENTITY_TOKEN_FILE": file, "AWS_STS_REGIONAL_ENDPOINTS": "regional", "AWS_REGION": fake.Region,
		}},
		{name: "Pod Identity", exchange: "/v1/credentials", host: "169.254.170.23", rotates: true, env: map[string]string{
			"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": file, "AWS_REGION": fake.Region,
		}},
		{name: "ECS task role", exchange: "/v2/credentials/task", host: "169.254.170.2", env: map[string]string{
			"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/task", "AWS_REGION": fake.Region,
		}},
		{name: "a role on top", exchange: "AssumeRole", host: "sts." + fake.Region + ".amazonaws.com", assume: role, env: map[string]string{
			"AWS_ACCESS_KEY_ID": fake.AccessKey, "AWS_SECRET_ACCESS_KEY": fake.SecretKey, "AWS_REGION": fake.Region,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			environment(t, c.env)
			synctest.Test(t, func(t *testing.T) {
				f := fake.New(fake.Options{})
				dawn := time.Now()
				g := f.Balancer("shop", nil).Group("checkout", nil)
				settings := DefaultConfig()
				settings.RoleARN = c.assume
				s := newSource(t, f, settings, time.Minute, group("checkout", "checkout"))
				tokens, total := 0, 0.0
				for m := range 24 * 60 {
					at := dawn.Add(time.Duration(m) * time.Minute)
					if c.rotates && m%48 == 0 { // at 80 % of its life, as a kubelet does
						tokens++
						token := fmt.Sprintf("token-%d-of-the-service-account", tokens)
						f.Trust(token, at.Add(time.Hour))
						rotate(t, file, token)
					}
					g.Serve(at, fake.Traffic{Requests: 10, Errors: 1})
					wait(time.Minute)
					got := collect(t, s, at, at.Add(time.Minute))[0]
					if got.Err != nil {
						t.Fatalf("minute %d: %v", m, got.Err)
					}
					all, _ := sums(got)
					total += all
				}
				if total < 24*60*10 {
					t.Errorf("%g events, want %d", total, 24*60*10)
				}
				exchanges := f.Journal(c.exchange)
				if n := len(exchanges); n < 24 || n > 30 {
					t.Errorf("%d exchanges in a day of credentials that live for an hour", n)
				}
				seen := map[string]bool{}
				for _, r := range exchanges {
					seen[r.Token] = true
					if r.Status != http.StatusOK || r.Host != c.host {
						t.Errorf("%+v, want host %s", r, c.host)
					}
				}
				if c.rotates && len(seen) < 20 {
					t.Errorf("%d tokens were used of %d", len(seen), tokens)
				}
				for _, r := range f.Journal("GetMetricData") {
					if r.Status != http.StatusOK || c.exchange != "" && r.AccessKey == fake.AccessKey {
						t.Fatalf("%+v", r)
					}
				}
			})
		})
	}
}

// What goes wrong with credentials says so, without a secret, and is over when the cause is.
func TestLostCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	environment(t, map[string]string{"AWS_ROLE_ARN": "arn:aws:iam::" + fake.Account + ":role/yoyu", "AWS_WEB_IDENTITY_TOKEN_FILE": file, "AWS_REGION": fake.Region})
	synctest.Test(t, func(t *testing.T) {
		f := fake.New(fake.Options{})
		dawn := time.Now()
		f.Balancer("shop", nil).Group("checkout", nil).Serve(dawn, fake.Traffic{Requests: 10})
		wait(5 * time.Minute)
		s := newSource(t, f, DefaultConfig(), time.Minute, group("checkout", "checkout"))
		span := slo.Span{From: dawn, To: dawn.Add(time.Minute)}
		said := func() string {
			samples, err := s.Collect(t.Context(), span)
			if err == nil {
				err = samples[0].Err
			}
			if err == nil {
				return ""
			}
			if strings.Contains(err.Error(), "secret-token") {
				t.Errorf("error holds the token: %v", err)
			}
			return err.Error()
		}
		if text := said(); !strings.Contains(text, "token") || !strings.Contains(text, "no such file") {
			t.Errorf("without a file: %s", text)
		}
		rotate(t, file, "secret-token")
		if text := said(); !strings.Contains(text, "slo checkout: credentials: InvalidIdentityToken: No OpenIDConnect provider found") {
			t.Errorf("with a wrong token: %s", text)
		}
		f.Fault(fake.Fault{Operation: "AssumeRoleWithWebIdentity", Code: "AccessDenied", Status: 403, Times: 1})
		if text := said(); text != "source aws: slo checkout: credentials: AccessDenied: a fault of the test: does the role's trust policy name who asks?" {
			t.Errorf("not trusted: %s", text)
		}
		f.Trust("secret-token", dawn.Add(time.Hour))
		if text := said(); text != "" {
			t.Errorf("with the right one: %s", text)
		}
	})
}

func TestNoRegion(t *testing.T) {
	environment(t, map[string]string{"AWS_ACCESS_KEY_ID": fake.AccessKey, "AWS_SECRET_ACCESS_KEY": fake.SecretKey})
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t, fake.New(fake.Options{}), DefaultConfig(), time.Minute, group("checkout", "checkout"))
		_, err := s.Collect(t.Context(), slo.Span{From: time.Now().Add(-time.Minute), To: time.Now()})
		if err == nil || err.Error() != "source aws: configuration: nobody says which region: write region, or set AWS_REGION" {
			t.Errorf("error %v", err)
		}
	})
}
