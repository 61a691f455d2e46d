#!/usr/bin/env bash
# Measures a bare directory, gocryptfs, a plain FUSE passthrough and strongroom side by side, and prints a table of
# values and ratios. A full run also writes them into src/docs/performance.md, with a chart. Needs root and /dev/fuse.
#
#   scripts/bench.sh [--quick] [--only NAME] [--out FILE] ...       scripts/bench.sh --help lists the options
set -euo pipefail
called_from=$PWD
cd "$(dirname "$0")/.."
. scripts/packages.sh

case " $* " in *" --help "* | *" -h "*) exec python3 -B scripts/bench/main.py --help ;; esac
if [ "$(id -u)" != 0 ]; then
    echo "Run as root: mounting and the caches of the kernel need it." >&2
    exit 1
fi
need e2fsprogs gcc libc6-dev fuse3 fio git gocryptfs procps python3 rsync tar util-linux
need_cargo
modprobe fuse 2>/dev/null || true

case " $* " in
*" --no-build "*) ;;
*)
    echo "Building (some minutes the first time) ..." >&2
    cargo build --release --locked --quiet
    cargo build --release --locked --quiet --example passthrough --example bench-driver
    ;;
esac
exec python3 -B scripts/bench/main.py --called-from "$called_from" "$@"
