#!/usr/bin/env bash
# Checks the files of $FILES, and tries each on $DATA, or on the history from $START to $END, where one
# is given. Faults are annotations on stdout; the answer of the backtest goes into
# $GITHUB_STEP_SUMMARY; on a pull request both become comments, unless $COMMENT is false. Exits with 1
# when there is a fault, whatever becomes of the comments.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$(mktemp -d "${RUNNER_TEMP:-/tmp}/yoyu.XXXXXX")
trap 'rm -rf "$folder"' EXIT

yoyu=${YOYU:-}
if [[ -z $yoyu ]]; then
	yoyu=$folder/yoyu
	CGO_ENABLED=0 go build -C "$here/../.." -trimpath -o "$yoyu" .
fi
summary=${GITHUB_STEP_SUMMARY:-/dev/stdout}

read -ra files <<<"$FILES"
if [[ ${#files[@]} -eq 0 ]]; then
	echo "::error::yoyu: files: names no configuration"
	exit 1
fi

over=()
if [[ -n ${DATA:-} ]]; then
	over=("--data=$DATA")
elif [[ -n ${START:-} ]]; then
	over=("--start=$START" ${END:+"--end=$END"})
fi

status=0
env -u TOKEN "$yoyu" check -o github "${files[@]}" | tee "$folder/findings" || status=$?

# What the job was started by has a pull request, or the program says nothing.
if [[ ${COMMENT:-true} != false && ${GITHUB_EVENT_NAME:-} == pull_request* ]]; then
	if CGO_ENABLED=0 go build -C "$here" -trimpath -o "$folder/comments" ./comments; then
		YOYU=$yoyu FINDINGS=$folder/findings "$folder/comments" || echo "::warning::yoyu: review comments: the program failed"
	else
		echo "::warning::yoyu: review comments: the program could not be built"
	fi
fi

if [[ $status -ne 0 || ${#over[@]} -eq 0 ]]; then
	exit "$status"
fi
for file in "${files[@]}"; do
	env -u TOKEN "$yoyu" backtest --config.file="$file" "${over[@]}" >"$folder/answer"
	fence='```' # longer than any in the answer, which holds the words of a recording
	while grep -qF -e "$fence" "$folder/answer"; do
		fence+='`'
	done
	{
		printf '### What %s would have done on %s\n\n%s\n' "$file" "${DATA:-the history from ${START:-}}" "$fence"
		cat "$folder/answer"
		printf '%s\n' "$fence"
	} >>"$summary"
done
