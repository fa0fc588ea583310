#!/usr/bin/env bash
# Runs every fuzz target of the module, one after the other: test/fuzz.sh [TIME]
#
# TIME is for each target, 10s unless told, or a number of inputs (1000x). A target that fails does
# not keep the others from running; the input it failed on lies in testdata/fuzz of its package.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
each=${1:-10s}

# go test lists the targets of a package, then the package itself.
listed=$(go test -list '^Fuzz' ./...)
targets=() failed=() ran=0
while read -r word package _; do
	case $word in
	Fuzz*) targets+=("$word") ;;
	ok)
		for target in ${targets[@]+"${targets[@]}"}; do
			echo "$package $target"
			ran=$((ran + 1))
			go test -run '^$' -fuzz "^$target\$" -fuzztime "$each" "$package" || failed+=("$package $target")
		done
		targets=()
		;;
	esac
done <<<"$listed"

if [[ $ran -eq 0 ]]; then
	echo "test/fuzz.sh: no fuzz target found" >&2
	exit 1
fi
echo "$ran fuzz targets, ${#failed[@]} failed"
if [[ ${#failed[@]} -gt 0 ]]; then
	printf '  %s\n' "${failed[@]}"
	exit 1
fi
