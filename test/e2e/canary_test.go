package e2e

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// canary is in every secret of these tests. What shows a part of it, plain or as base64 has it at
// any offset, has shown a secret.
const canary = "cAnArYsEcReT"

func sings(text string) bool {
	if strings.Contains(text, canary) {
		return true
	}
	for offset := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", offset) + canary))
		// Characters at both ends depend on what stands beside.
		if strings.Contains(text, encoded[(offset*8+5)/6:len(encoded)-2]) {
			return true
		}
	}
	return false
}

// parrot refuses everybody and repeats all it was sent, as servers and proxies do.
func parrot(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		said := fmt.Sprintf("denied: %s %v", r.URL, r.Header)
		if user, password, ok := r.BasicAuth(); ok {
			said += " " + user + " " + password
		}
		said = strings.NewReplacer("\n", " ", `"`, `'`).Replace(said)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `{"status":"error","errorType":"denied","error":"%[1]s","errors":["%[1]s"],"message":"%[1]s"}`, said)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// routes are those that the face answers, read from its source so that none is forgotten.
func routes(t *testing.T) (out []string) {
	t.Helper()
	source, err := os.ReadFile("../../internal/web/server.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`handle\("GET", "(/[^"]*)"`).FindAllStringSubmatch(string(source), -1) {
		out = append(out, strings.NewReplacer("{$}", "", "{slo}", "it").Replace(m[1]))
	}
	if len(out) < 9 {
		t.Fatalf("%d routes are found in internal/web: %v", len(out), out)
	}
	return append(out, "/explain?slo=it", "/api/v1/gate?slo=it", "/explain?slo=of-basic", "/style.css", "/debug/pprof/", "/debug/pprof/cmdline",
		"/debug/pprof/goroutine?debug=2", "/nonsense")
}

// Secrets are planted wherever one can be: in every file, header and parameter, with servers that
// repeat them in their errors. None is found in what yoyu logs at its most talkative, answers,
// prints or stores.
func TestCanary(t *testing.T) {
	dir := t.TempDir()
	a := newAuthority(t)
	a.write(dir, "client", "yoyu")
	key, err := os.ReadFile(filepath.Join(dir, "client.key"))
	if err != nil {
		t.Fatal(err)
	}
	keyLine := strings.Split(string(key), "\n")[1]
	address := parrot(t)
	files := map[string]string{
		"password": canary + "-password\n", "token": canary + "-token", "header": canary + "-header", "oauth": canary + "-oauth",
		"api": canary + "-api", "app": canary + "-app",
		"kubeconfig": fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: it, contexts: [{name: it, context: {cluster: it, user: it}}],
clusters: [{name: it, cluster: {server: %q}}], users: [{name: it, user: {token: %s-kube}}]}`, address, canary),
		"web.yaml": fmt.Sprintf("basic_auth_users: {ann: %q}\n", hashed(t, canary+"-web")),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	target, page := pod(t)
	page.Store("requests_total 1\n")
	config := fmt.Sprintf(`
tick: 1s
sources:
  - {name: pods, type: scrape, targets: ["http://%[1]s/metrics?token=%[3]s-parameter"], basic_auth: {username: yoyu, password_file: password}}
  - {name: refused, type: scrape, targets: ["%[2]s/metrics?token=%[3]s-parameter"], authorization: {credentials_file: token}, http_headers: {X-Key: {files: [header]}}}
  - {name: basic, type: prometheus, url: %[2]q, basic_auth: {username: yoyu, password_file: password}, http_headers: {X-Key: {files: [header], values: [%[3]s-value]}}}
  - {name: bearer, type: prometheus, url: %[2]q, authorization: {credentials_file: token}, tls_config: {cert_file: client.pem, key_file: client.key}}
  - {name: oauth, type: prometheus, url: %[2]q, oauth2: {client_id: yoyu, client_secret_file: oauth, token_url: "%[2]s/token"}}
  - {name: dd, type: datadog, url: %[2]q, api_key_file: api, app_key_file: app}
  - {name: cluster, type: kubernetes, kubeconfig: kubeconfig}
sinks:
  - {name: dd, type: datadog, url: %[2]q, api_key_file: api}
  - {name: rw, type: remote_write, url: "%[2]s/push", authorization: {credentials_file: token}, http_headers: {X-Key: {files: [header]}}}
  - {name: am, type: alertmanager, url: %[2]q, basic_auth: {username: yoyu, password_file: password}, http_headers: {X-Key: {files: [header]}}}
rightsizing: {source: cluster}
defaults: {period: 2h}
slos:
  - {name: it, source: pods, service: shop, objective: 99, indicator: {counters: {total: requests_total, bad: 'requests_total{code="500"}'}}}
  - {name: of-refused, source: refused, service: shop, objective: 99, indicator: {counters: {total: requests_total, bad: 'requests_total{code="500"}'}}}
  - {name: of-basic, source: basic, service: shop, objective: 99, indicator: {counters: {total: requests_total, bad: 'requests_total{code="500"}'}}}
  - {name: of-bearer, source: bearer, service: shop, objective: 99, indicator: {promql: {total: 'sum(increase(a[{{.window}}]))', bad: 'sum(increase(b[{{.window}}]))'}}}
  - {name: of-oauth, source: oauth, service: shop, objective: 99, indicator: {counters: {total: requests_total, bad: 'requests_total{code="500"}'}}}
  - {name: of-dd, source: dd, service: shop, objective: 99, indicator: {datadog: {total: 'sum:hits{*}.as_count()', bad: 'sum:errors{*}.as_count()'}}}
`, target, address, canary)
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	silent := func(where, text string) {
		t.Helper()
		if sings(text) || strings.Contains(text, keyLine) {
			i := max(strings.Index(text, canary), 0)
			t.Errorf("%s shows a secret: …%s…", where, text[max(0, i-200):min(len(text), i+200)])
		}
	}

	// Commands that run once.
	for _, args := range [][]string{
		{"check", file}, {"check", "-o", "github", file}, {"check", "--live", file}, {"report", "--config.file=" + file},
		{"report", "--config.file=" + file, "-o", "json"}, {"report", "--config.file=" + file, "-o", "markdown"},
		{"rules", "--config.file=" + file}, {"dashboards", "grafana", "--config.file=" + file}, {"dashboards", "datadog", "--config.file=" + file},
		{"provision", "datadog", "--config.file=" + file}, {"rightsizing", "--config.file=" + file},
	} {
		out, _ := exec.CommandContext(t.Context(), filepath.Join(binaries, "yoyu"), append([]string{"--log.level=debug"}, args...)...).CombinedOutput()
		if len(bytes.TrimSpace(out)) == 0 {
			t.Errorf("yoyu %v says nothing", args)
		}
		silent(fmt.Sprintf("yoyu %v", args), string(out))
	}

	// The daemon, asked for everything it has, as somebody and as nobody.
	listen, data := freeAddress(t), filepath.Join(dir, "data")
	y := start(t, "yoyu", "run", "--log.level=debug", "--config.file="+file, "--storage.path="+data, "--web.listen-address="+listen,
		"--web.config.file="+filepath.Join(dir, "web.yaml"), "--web.enable-lifecycle", "--web.enable-pprof")
	ask := func(method, path, password string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+listen+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("ann", password)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, fmt.Sprint(res.Header) + string(text)
	}
	sources := []string{"pods", "refused", "basic", "bearer", "oauth", "dd", "cluster"}
	until(t, "every source and sink has had its answer", func() (bool, string) {
		_, text := ask("GET", "/metrics", canary+"-web")
		for _, name := range sources[1:] {
			if !regexp.MustCompile(`yoyu_source_failures_total\{reason="[a-z0-9_]+",source="` + name + `"\} [1-9]`).MatchString(text) {
				return false, name + " has not failed yet"
			}
		}
		for _, name := range []string{"dd", "rw"} {
			if !regexp.MustCompile(`yoyu_sink_failures_total\{reason="[a-z0-9_]+",sink="` + name + `"\} [1-9]`).MatchString(text) {
				return false, "sink " + name + " has not failed yet"
			}
		}
		return strings.Contains(text, `slo_window_coverage_ratio{service="shop",slo="it"`), "it has no numbers yet"
	})
	for _, path := range routes(t) {
		for _, password := range []string{canary + "-web", canary + "-wrong"} {
			_, text := ask("GET", path, password)
			silent("GET "+path, text)
		}
	}

	// A reload that is refused says why; a broken web configuration does, too.
	broken := strings.Replace(config, "password_file: password", "password: "+canary+"-inline", 1)
	if err := os.WriteFile(file, []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	status, text := ask("POST", "/-/reload", canary+"-web")
	if status != http.StatusInternalServerError || !strings.Contains(text, "a secret does not belong in this file") {
		t.Errorf("a reload of a secret in the file: %d %s", status, text)
	}
	silent("POST /-/reload", text)
	for _, web := range []string{
		"tls_server_config: {cert: x, key: [" + canary + "]}", "basic_auth_users: " + canary, "basic_auth_users: {ann: [" + canary + "]}", canary, "{" + canary,
	} {
		if err := os.WriteFile(filepath.Join(dir, "web.yaml"), []byte(web), 0o600); err != nil {
			t.Fatal(err)
		}
		_, text := ask("GET", "/", canary+"-web")
		silent("GET / with a broken web configuration", text)
	}
	silent("stdout", y.stop())
	log := y.stderr.String()
	if !strings.Contains(log, "denied") || !strings.Contains(log, "<secret>") {
		t.Error("no server's words are in the log: the test has lost its point")
	}
	for _, line := range strings.Split(log, "\n") {
		silent("the log", line)
	}
	err = filepath.WalkDir(data, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		silent(path, string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Secrets where they do not belong, and values of a wrong shape where one is named: what is said
// about them never repeats them.
func TestCanaryInFaults(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("YOYU_TEST_CANARY", canary)
	for _, entry := range []string{
		`basic_auth: {username: yoyu, password: %s}`, `basic_auth: {username: yoyu, password: [%s]}`, `basic_auth: %s`, `basic_auth: [%s]`,
		`authorization: {credentials: %s}`, `authorization: {credentials: {it: %s}}`, `authorization: %s`, `bearer_token: %s`, `bearer_token: [%s]`,
		`oauth2: {client_id: a, token_url: "http://a", client_secret: %s}`, `oauth2: %s`, `oauth2: {client_id: a, client_certificate_key: %s}`,
		`tls_config: {cert: a, key: %s}`, `tls_config: {key: [%s]}`, `tls_config: %s`, `http_headers: {X-Key: {secrets: [%s]}}`,
		`http_headers: {X-Key: {secrets: %s}}`, `http_headers: {X-Key: %s}`, `http_headers: %s`, `http_headers: {Authorization: {values: [%s]}}`,
		`proxy_url: "http://it:%s@proxy"`, `proxy_url: "http://%s@proxy"`, `proxy_url: "http://%s@a", proxy_connect_header: {X-Key: [it]}`,
		`proxy_connect_header: {X-Key: %s}`, `proxy_connect_header: {X-Key: [[%s]]}`, `api_key: %s`, `app_key: %s`, `token: %s`, `secret_key: %s`, `secrets: [%s]`,
		`credentials: %s`, `password: %s`, `sigv4: {access_key: a, secret_key: %s}`,
		`url: "http://it:%s@prometheus"`, `url: "http://%s@prometheus"`, `url: "http://it:${YOYU_TEST_CANARY}@prometheus" # %s`,
		`url: "http://${YOYU_TEST_CANARY}@prometheus" # %s`, `url: "http://prometheus/?token=%s"`, `url: "://it:%s@prometheus"`, `url: "http://it:%s@prometheus:port"`,
		`url: "it:%s@prometheus"`, `targets: ["http://it:%s@pod"]`, `targets: ["http://%s@pod:port"]`, `targets: ["it:%s@pod"]`, `targets: [["http://it:%s@pod"]]`,
	} {
		for _, kind := range []string{"prometheus", "scrape", "datadog", "kubernetes", "alertmanager", "remote_write"} {
			where, fields := "sources", fmt.Sprintf(entry, canary)
			if kind == "alertmanager" || kind == "remote_write" {
				where = "sinks"
			}
			more := ""
			if !strings.HasPrefix(entry, "url:") {
				more = ", url: http://prometheus"
			}
			comment := ""
			if at := strings.Index(fields, " # "); at >= 0 {
				fields, comment = fields[:at], ""
			}
			text := fmt.Sprintf("%s: [{name: it, type: %s, %s%s}]%s\nslos: [{name: it, source: it, service: shop, objective: 99, period: 2h, indicator: {counters: {total: a, bad: b}}}]\n",
				where, kind, fields, more, comment)
			file := filepath.Join(dir, "config.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), filepath.Join(binaries, "yoyu"), "check", file).CombinedOutput()
			if err == nil {
				t.Errorf("good? %s%s", text, out)
			}
			if sings(string(out)) {
				t.Errorf("%s\n%s", text, out)
			}
		}
	}
}
