#!/usr/bin/env bash
# Checks the files of $FILES, and tries each on $DATA where it is given. Faults are annotations on
# stdout; the answer of the backtest goes into $GITHUB_STEP_SUMMARY. Exits with 1 when there is a fault.
set -euo pipefail

yoyu=${YOYU:-}
if [[ -z $yoyu ]]; then
	yoyu=${RUNNER_TEMP:-/tmp}/yoyu
	CGO_ENABLED=0 go build -C "$(dirname "${BASH_SOURCE[0]}")/../.." -trimpath -o "$yoyu" .
fi
summary=${GITHUB_STEP_SUMMARY:-/dev/stdout}

read -ra files <<<"$FILES"
if [[ ${#files[@]} -eq 0 ]]; then
	echo "::error::yoyu: files: names no configuration"
	exit 1
fi

status=0
"$yoyu" check -o github "${files[@]}" || status=$?
if [[ $status -ne 0 || -z ${DATA:-} ]]; then
	exit "$status"
fi
for file in "${files[@]}"; do
	{
		printf '### What %s would have done on %s\n\n```\n' "$file" "$DATA"
		"$yoyu" backtest --config.file="$file" --data="$DATA"
		printf '```\n'
	} >>"$summary"
done
