#!/usr/bin/env bash
# Prints where a Chromium is, for the tests that look at the page; where none is and root asks, the
# Debian package is installed. A Chromium is no Go module: it is not built like the parts of build.sh.
set -euo pipefail

if [[ -n ${YOYU_CHROMIUM:-} ]]; then
	echo "$YOYU_CHROMIUM"
	exit
fi

# The same names as in test/browser.
find_it() {
	local name
	for name in chromium google-chrome-stable google-chrome chromium-browser; do
		if command -v "$name"; then
			return 0
		fi
	done
	return 1
}

find_it && exit
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
	echo "test/chromium.sh: no Chromium here: install one (Debian, as root: apt-get install chromium) or name it in YOYU_CHROMIUM" >&2
	exit 1
fi
echo "test/chromium.sh: installing the package chromium" >&2
apt=(apt-get -qq -o DPkg::Lock::Timeout=300)
"${apt[@]}" update >&2
DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends chromium >&2
find_it
