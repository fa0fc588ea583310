package config

import "gopkg.in/yaml.v3"

// Text is the entry's own fields as YAML, for telling whether they changed.
func (o options) Text() string {
	text, err := yaml.Marshal(o.own)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
