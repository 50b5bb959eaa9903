#!/usr/bin/env bash
# Compile pyproject.toml's extras into requirements/*.txt (usage: scripts/compile_locks.sh UV).
# The locks name neither an index nor this machine, so they read the same wherever they are made.
set -euo pipefail
cd "$(dirname "$0")/.."
uv="${1:?usage: scripts/compile_locks.sh path/to/uv}"

for extra in gateway audio-encoder dit-worker vae-decoder client training dev; do
  out="requirements/${extra}.txt"
  {
    echo "# Compiled by 'make locks' from pyproject.toml [${extra}]; edit that file instead."
    "$uv" pip compile --quiet pyproject.toml --extra "$extra" \
      --constraints requirements/constraints.txt --excludes requirements/cuda-excludes.txt \
      --python-version 3.11 --no-header --no-emit-index-url --no-annotate
  } >"$out.new"
  mv "$out.new" "$out"
done

# The workers need the same: one lock for the stage that their images share (see a Dockerfile).
for extra in audio-encoder vae-decoder; do
  diff <(sed '/^#/d' requirements/dit-worker.txt) <(sed '/^#/d' "requirements/${extra}.txt") >&2
done
sed '/^#/d' requirements/dit-worker.txt >requirements/worker.txt
