#!/bin/sh
# The programs that demo and tests call to prove the store without Holdfast. Installs those that are missing, by apt.
set -eu

missing=""
command -v zstd >/dev/null 2>&1 || missing="$missing zstd"
command -v rsync >/dev/null 2>&1 || missing="$missing rsync"
command -v git >/dev/null 2>&1 || missing="$missing git"
command -v sha256sum >/dev/null 2>&1 || missing="$missing coreutils"
[ -n "$missing" ] || exit 0

echo "Needed by demo and tests, and missing here:$missing"
give_up() {
	echo "Cannot install:$missing. $1" >&2
	echo "Install them with your system's package manager, then run make again." >&2
	exit 1
}
command -v apt-get >/dev/null 2>&1 || give_up "There is no apt-get on this system."
as_root=""
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null 2>&1 || give_up "This user is not root, and there is no sudo."
	as_root="sudo"
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of names
$as_root apt-get install -y -q $missing || { $as_root apt-get update -q && $as_root apt-get install -y -q $missing; } ||
	give_up "apt-get failed, see above."
