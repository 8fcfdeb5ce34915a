#!/usr/bin/env python3
"""Instructions of the hot paths, counted by callgrind and compared with thresholds.json.

usage: check.py [--driver .build/release/kernel-counts] [--update] [--only NAME …]

A path's count is that of three rounds less that of one, halved: start and set-up fall out. Counts of one binary repeat
to a hundredth of a percent; another compiler moves them by a percent or two, so a path fails when it is more than 5 %
above its threshold.
--update writes the counts of this machine as the new thresholds: do so in the commit that changes a path on purpose, and
say why. Thresholds belong to an architecture; where valgrind or thresholds for this one are missing, one line says so
and nothing fails.
"""
import argparse, json, os, platform, re, shutil, subprocess, sys, tempfile

MARGIN = 1.05
here = os.path.dirname(os.path.abspath(__file__))
parser = argparse.ArgumentParser()
parser.add_argument("--driver", default=".build/release/kernel-counts")
parser.add_argument("--update", action="store_true")
parser.add_argument("--only", nargs="*")
options = parser.parse_args()
file = os.path.join(here, "thresholds.json")
with open(file) as f:
    thresholds = json.load(f)
architecture = platform.machine()

if not shutil.which("valgrind") or not shutil.which("strip"):
    sys.exit(print("skipped: valgrind or strip is not installed, so instructions cannot be counted"))
if architecture not in thresholds and not options.update:
    sys.exit(print(f"skipped: thresholds.json has no counts for {architecture}; add them with --update"))
scratch = tempfile.TemporaryDirectory()
# Debug information of newer formats than valgrind's stops it.
driver = os.path.join(scratch.name, "driver")
subprocess.run(["strip", "-g", "-o", driver, options.driver], check=True)


def instructions(name, rounds):
    run = subprocess.run(
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={scratch.name}/out", driver, name, str(rounds)],
        capture_output=True, text=True, env=dict(os.environ, SWIFT_DETERMINISTIC_HASHING="1"))
    collected = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode != 0 or not collected:
        sys.exit(f"check.py: {name} did not run under valgrind:\n{run.stderr[-2000:]}")
    return int(collected[1])


names = subprocess.run([driver, "list"], capture_output=True, text=True, check=True).stdout.split()
known = thresholds.setdefault(architecture, {})
failed = []
for name in options.only or names:
    count = (instructions(name, 3) - instructions(name, 1)) // 2
    allowed = known.get(name)
    share = f"{count / allowed * 100:.1f} % of {allowed}" if allowed else "no threshold"
    print(f"{name}: {count} instructions, {share}", flush=True)
    if options.update:
        known[name] = count
    elif not allowed or count > allowed * MARGIN:
        failed.append(name)
if options.update:
    with open(file, "w") as f:
        json.dump(thresholds, f, indent=2, sort_keys=True)
        f.write("\n")
elif failed:
    sys.exit(f"check.py: more instructions than thresholds.json allows (or no threshold): {', '.join(failed)}")
