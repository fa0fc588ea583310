#!/usr/bin/env bash
# Builds the real programs that tests run against, each from its own pinned Go module beside this
# script, into a cache outside the checkout. A second run costs nothing.
#
#   test/build.sh                  builds every part and prints the folder of each
#   test/build.sh prometheus …     builds these only
#   test/build.sh --path [PART …]  prints the folders and builds nothing
#
# The cache is ${YOYU_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/yoyu/test}/<part>-<key>, where
# the key holds all that decides what comes out: the Go version and platform, the module's go.mod
# and go.sum, and the flags. Old keys are left alone; the cache may be deleted at any time.
set -euo pipefail

# One line for each part: the folder of its module, then the flags of go build. What is built are
# the `tool` lines of its go.mod. A folder `over` in the module is laid over a copy of the module
# that its file MODULE names: Alertmanager embeds a web page that releases build and modules lack.
# A file `ships` in the module names files of other modules, one a line as MODULE PATH, where a
# module that go.mod does not require is MODULE@VERSION; they are put beside the programs: the CRDs
# that a release ships belong to its version. A file `crds` names packages of types, one a line, of
# which controller-gen, one of the tools, makes the CRDs where no release ships them.
parts() {
	part alertmanager -tags=netgo -ldflags='-s -w -X github.com/prometheus/common/version.Version=0.34.1'
	part helm -ldflags='-s -w'
	part kubernetes -ldflags='-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2'
	part kubernetes-oldest -ldflags='-s -w -X k8s.io/component-base/version.gitVersion=v1.30.14'
	part operators -ldflags='-s -w'
	part prometheus -tags=remove_all_sd,netgo -ldflags='-s -w -X github.com/prometheus/common/version.Version=3.16.0'
	part vpa -ldflags='-s -w'
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${YOYU_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/yoyu/test}
if [[ $cache != /* ]]; then
	cache=$PWD/$cache
fi
known=' '

# What the caller's environment says about building Go must not change what is built. Without cgo
# no C compiler is needed, and the same source gives the same program everywhere.
unset GOOS GOARCH
export GOFLAGS=-mod=readonly GOWORK=off CGO_ENABLED=0

part() {
	local name=$1 more
	shift
	known+="$name "
	if [[ ${#wanted[@]} -gt 0 && " ${wanted[*]} " != *" $name "* ]]; then
		return
	fi

	local module=$here/$name flags=(-trimpath -buildvcs=false "$@") key dir
	key=$({
		go -C "$module" env GOVERSION GOOS GOARCH
		cat "$module/go.mod" "$module/go.sum"
		if [[ -d $module/over ]]; then
			(cd "$module/over" && find . -type f | LC_ALL=C sort | xargs cat)
		fi
		for more in ships crds; do
			if [[ -f $module/$more ]]; then
				cat "$module/$more"
			fi
		done
		printf '%s\n' "${flags[@]}"
	} | git hash-object --stdin)
	dir=$cache/$name-${key:0:16}

	if [[ $build == yes && ! -d $dir ]]; then
		echo "test/build.sh: building $name into $dir (minutes, once)" >&2
		mkdir -p "$cache"
		# Built aside and renamed, so that a build cut short is never taken for a whole one.
		tmp=$dir.tmp.$$
		mkdir "$tmp"
		if [[ -d $module/over ]]; then
			lay_over "$module" "$tmp/source"
			flags+=("-modfile=$tmp/source/go.mod")
		fi
		go -C "$module" build "${flags[@]}" -o "$tmp/" tool >&2
		if [[ -f $module/ships ]]; then
			ship "$module" "$tmp"
		fi
		if [[ -f $module/crds ]]; then
			generate "$module" "$tmp"
		fi
		rm -rf "$tmp/source"
		mv "$tmp" "$dir"
		# Where another build was quicker, the rename went into its folder.
		rm -rf "$dir/${tmp##*/}"
		tmp=
	fi
	printf '%s\n' "$dir"
}

# lay_over copies the module that over/MODULE names, puts the files of over on top, and leaves a
# go.mod beside it that builds with the copy.
lay_over() {
	local module=$1 to=$2 of from
	read -r of <"$module/over/MODULE"
	go -C "$module" mod download "$of"
	from=$(go -C "$module" list -m -f '{{.Dir}}' "$of")
	mkdir "$to"
	cp -R "$from" "$to/module"
	chmod -R u+w "$to/module"
	cp -R "$module/over/." "$to/module/"
	cp "$module/go.mod" "$module/go.sum" "$to/"
	go mod edit -replace "$of=$to/module" "$to/go.mod"
}

# ship copies the files that the module's file ships names.
ship() {
	local module=$1 to=$2 of path from
	while read -r of path; do
		case $of in
		*@*) from=$(go -C "$module" mod download -json "$of" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p') ;;
		*) from=$(go -C "$module" list -m -f '{{.Dir}}' "$of") ;;
		esac
		cp "$from/$path" "$to/"
		chmod u+w "$to/${path##*/}"
	done <"$module/ships"
}

# generate makes CRDs of the packages that the module's file crds names.
generate() {
	local module=$1 to=$2 package
	while read -r package; do
		(cd "$module" && "$to/controller-gen" crd:maxDescLen=0 "paths=$package" "output:crd:dir=$to")
	done <"$module/crds"
}

tmp=
trap 'if [[ -n $tmp ]]; then rm -rf "$tmp"; fi' EXIT

build=yes
wanted=()
for arg in "$@"; do
	case $arg in
	--path) build=no ;;
	-*)
		echo "test/build.sh: unknown flag $arg" >&2
		exit 2
		;;
	*) wanted+=("$arg") ;;
	esac
done

parts

for name in ${wanted[@]+"${wanted[@]}"}; do
	if [[ $known != *" $name "* ]]; then
		echo "test/build.sh: unknown part $name; known:$known" >&2
		exit 2
	fi
done
