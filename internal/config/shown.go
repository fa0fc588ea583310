package config

import (
	"net/url"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

// Hidden stands where a value may be a secret.
const Hidden = "<hidden>"

// hushed are fields of sources and sinks whose values people put secrets into: none of them is
// refused, since they hold other things too.
var hushed = map[string]bool{"http_headers": true, "headers": true, "params": true, "endpoint_params": true, "proxy_connect_header": true}

// telling are the words in the name of a field that holds a secret, unless it names a file.
var telling = regexp.MustCompile(`(?i)(password|passwd|secret|token|credential|api_?key|app_?key|private)`)

// Shown is YAML for many eyes: what of a source or sink may be a secret is Hidden, also where the
// file was read by a yoyu that did not refuse it.
func (c *Config) Shown() ([]byte, error) {
	text, err := c.YAML()
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) == 0 {
		return text, nil
	}
	root := doc.Content[0]
	for _, list := range []string{"sources", "sinks"} {
		if n := lookup(root, list); n != nil {
			hush(n, false)
		}
	}
	out := &strings.Builder{}
	encoder := yaml.NewEncoder(out)
	encoder.SetIndent(2)
	if err := encoder.Encode(root); err != nil {
		return nil, err
	}
	return []byte(out.String()), encoder.Close()
}

// hush hides what may be a secret in a node, or all there is.
func hush(n *yaml.Node, all bool) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			hush(n.Content[i+1], all || hushed[key] || telling.MatchString(key) && !strings.HasSuffix(key, "_file"))
		}
	case yaml.SequenceNode:
		for _, one := range n.Content {
			hush(one, all)
		}
	case yaml.ScalarNode:
		if all {
			*n = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: Hidden}
		} else if strings.Contains(n.Value, "://") {
			n.Value = hushedURL(n.Value)
		}
	}
}

// hushedURL is an address without its user, its password and its query.
func hushedURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return Hidden
	}
	if u.User != nil {
		u.User = url.User("hidden")
	}
	if u.RawQuery != "" {
		u.RawQuery = "hidden"
	}
	return u.String()
}
