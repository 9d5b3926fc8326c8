#!/bin/sh
# What benchmarks compare with: restic, borg and git from the system's packages; disk-objectstore into the environment given.
set -eu
python=$1
missing=""
for program in restic borg git zstd; do
	command -v "$program" >/dev/null 2>&1 || missing="$missing $([ "$program" = borg ] && echo borgbackup || echo "$program")"
done
if [ -n "$missing" ]; then
	as_root=""
	[ "$(id -u)" -eq 0 ] || as_root="sudo"
	# shellcheck disable=SC2086 # a list of names
	$as_root apt-get install -y -q $missing || { $as_root apt-get update -q && $as_root apt-get install -y -q $missing; }
fi
"$python" -m pip install --quiet --disable-pip-version-check disk-objectstore
