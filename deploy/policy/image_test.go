package policy

import (
	"regexp"
	"strings"
	"testing"
)

var (
	digest  = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	version = regexp.MustCompile(`^\w[\w.-]{0,127}$`)
)

// imageFault says why the reference names no version of an image, or "". A digest wins over a tag; a
// colon before the last slash is a registry's port.
func imageFault(reference string) string {
	name, hash, pinned := strings.Cut(reference, "@")
	_, tag, tagged := strings.Cut(name[strings.LastIndex(name, "/")+1:], ":")
	switch {
	case pinned && !digest.MatchString(hash):
		return "its digest is none"
	case tagged && !version.MatchString(tag):
		return "its tag is none"
	case tag == "latest" || strings.HasPrefix(tag, "latest-"):
		return "latest is no version"
	case !pinned && !tagged:
		return "it has no version"
	}
	return ""
}

func TestImageFault(t *testing.T) {
	hash := "sha256:" + strings.Repeat("0a", 32)
	for reference, want := range map[string]string{
		"yoyu:v0.1.0": "", "ghcr.io/yoyu-sre/yoyu:v0.1.0": "", "registry:5000/yoyu:v0.1.0": "",
		"ghcr.io/yoyu-sre/yoyu@" + hash: "", "ghcr.io/yoyu-sre/yoyu:v0.1.0@" + hash: "", "registry:5000/yoyu@" + hash: "",
		"yoyu": "it has no version", "registry:5000/yoyu": "it has no version", "": "it has no version",
		"yoyu:latest": "latest is no version", "registry:5000/yoyu:latest-arm64": "latest is no version", "yoyu:latest@" + hash: "latest is no version",
		"yoyu:": "its tag is none", "yoyu@sha256:0a": "its digest is none", "yoyu@": "its digest is none",
	} {
		if got := imageFault(reference); got != want {
			t.Errorf("%s: %q, want %q", reference, got, want)
		}
	}
}
