#!/usr/bin/env bash
# Install the programs that come from the operating system, and only those that are missing.
set -euo pipefail

# espeak-ng speaks the examples and the training sentences; its library gives phoneme times.
# redis-server holds the sessions of the gateways that the tests start; openssl signs certificates
# for tests of TLS.
missing=()
command -v espeak-ng >/dev/null || missing+=(espeak-ng)
ldconfig -p 2>/dev/null | grep libespeak-ng.so.1 >/dev/null || missing+=(libespeak-ng1)
command -v redis-server >/dev/null || missing+=(redis-server)
command -v openssl >/dev/null || missing+=(openssl)
# prometheus (with promtool) and the alertmanager read the metrics and fire the alerts of a suite.
for program in prometheus promtool; do
  command -v "$program" >/dev/null || { missing+=(prometheus); break; }
done
command -v prometheus-alertmanager >/dev/null || command -v alertmanager >/dev/null \
  || missing+=(prometheus-alertmanager)
if [ "${#missing[@]}" -eq 0 ]; then
  exit 0
fi

if ! command -v apt-get >/dev/null; then
  echo "setup: please install these programs yourself, then run make again: ${missing[*]}" >&2
  echo "setup: (no apt-get here; on macOS: brew install espeak-ng redis openssl prometheus alertmanager)" >&2
  exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "setup: please run as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

echo "setup: installing ${missing[*]} with apt"
export DEBIAN_FRONTEND=noninteractive
install=("${as_root[@]}" apt-get install --yes --quiet --no-install-recommends "${missing[@]}")
"${install[@]}" >/dev/null || { "${as_root[@]}" apt-get update --quiet && "${install[@]}"; }

# Debian starts what it installs; tests start servers of their own, and nobody asked for these.
if [ -d /run/systemd/system ]; then
  for package in "${missing[@]}"; do
    case "$package" in
      prometheus | prometheus-alertmanager)
        "${as_root[@]}" systemctl disable --quiet --now "$package" || true ;;
    esac
  done
fi
