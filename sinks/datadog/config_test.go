package datadog

import (
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

func TestValidate(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"as documented", "{site: datadoghq.com, api_key_file: /secrets/api, metrics: standard, tags: [env:prod]}", ""},
		{"the least", "{api_key_file: /secrets/api}", ""},
		{"a site of its own", "{api_key_file: k, site: us2.ddog-gov.com}", ""},
		{"a proxy", "{api_key_file: k, url: 'http://proxy:8080/datadog'}", ""},
		{"no key", "{site: datadoghq.com}", "api_key_file: is missing, name the file that holds the API key"},
		{"an address for a site", "{api_key_file: k, site: 'https://datadoghq.com'}", `site: "https://datadoghq.com" is no site, it is a host name such as datadoghq.com or datadoghq.eu`},
		{"the page for a site", "{api_key_file: k, site: app.datadoghq.eu}", `site: "app.datadoghq.eu" is an address within a site, leave out its first word`},
		{"a site for an address", "{api_key_file: k, url: datadoghq.com}", `url: "datadoghq.com" is no address such as https://proxy:8443`},
		{"a password in an address", "{api_key_file: k, url: 'https://me:secret@proxy'}", "url: holds a password, take it out"},
		{"an address that cannot be read", "{api_key_file: k, url: 'http://[::1'}", "url: is no address such as https://proxy:8443"},
		{"an unknown preset", "{api_key_file: k, metrics: all}", `metrics: "all" is none of minimal, standard, full`},
		{"a tag without a value", "{api_key_file: k, tags: [env:prod, canary]}", `tags[1]: "canary" is no tag such as env:prod`},
		{"a version", "{api_key_file: k, tags: ['version:1']}", "tags[0]: version starts new series with every release, leave it out"},
		{"a runbook", "{api_key_file: k, tags: ['runbook_url:https://x']}", "tags[0]: runbook_url is for people and tells no series apart, leave it out"},
		{"a host", "{api_key_file: k, tags: ['host:a']}", "tags[0]: host multiplies custom metrics and says nothing about a service, leave it out"},
		{"two at once", "{site: x, metrics: y}", "api_key_file: is missing, name the file that holds the API key\n" +
			`site: "x" is no site, it is a host name such as datadoghq.com or datadoghq.eu` + "\n" + `metrics: "y" is none of minimal, standard, full`},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := DefaultConfig()
			in := yaml.NewDecoder(strings.NewReader(c.text))
			in.KnownFields(true)
			if err := in.Decode(&config); err != nil {
				t.Fatal(err)
			}
			got := ""
			if err := config.Validate(); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if _, err := New(Options{Config: config}); (err != nil) != (c.want != "") {
				t.Errorf("New: %v", err)
			}
		})
	}
}
