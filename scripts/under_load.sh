#!/usr/bin/env bash
# Run a command with busy loops beside it, one for each core (usage: scripts/under_load.sh COMMAND ...).
# Nothing that is tested may depend on what else runs: scripts/under_load.sh make test
# LOOPS=4 takes another number of loops.
set -euo pipefail
[ "$#" -gt 0 ] || { echo "usage: scripts/under_load.sh COMMAND ..." >&2; exit 2; }

loops=()
trap 'kill "${loops[@]}" 2>/dev/null || true' EXIT
for _ in $(seq "${LOOPS:-$(getconf _NPROCESSORS_ONLN)}"); do
  (while :; do :; done) &
  loops+=($!)
done
echo "under load: ${#loops[@]} busy loops" >&2
"$@"
