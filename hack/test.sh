#!/usr/bin/env bash
# Runs every test but `make test-faults` (10 minutes that want a quiet machine), part by part, and ends with a table of the
# parts and a line `N passed, N failed` that counts the tests. A failed part does not keep the others from running. Nothing is
# left running, also after a failure or ^C.
set -euo pipefail
cd "$(dirname "$0")/.."

parts=(verify lint unit controls modules envtest worker e2e)
declare -A result seconds
session=

# processes_of prints the processes of a session, of which every part has one of its own: also what has daemonised
# into another process group, such as an API server whose test crashed.
processes_of() {
  local stat rest fields
  for stat in /proc/[0-9]*/stat; do
    { rest=$(<"$stat"); } 2>/dev/null || continue
    read -ra fields <<<"${rest##*) }" # state, parent, group, session: the name before them may hold spaces
    if [ "${fields[3]}" = "$1" ]; then stat=${stat%/stat}; echo "${stat#/proc/}"; fi
  done
}

# sweep sends a signal to what is left of the current part.
sweep() {
  local pids
  mapfile -t pids < <(processes_of "$session")
  [ "${#pids[@]}" -eq 0 ] || kill "-$1" "${pids[@]}" 2>/dev/null || true
}

stop() {
  trap '' INT TERM
  if [ -n "$session" ]; then
    sweep TERM
    wait "$session" 2>/dev/null || true # the part's own trap takes its cluster down first
    sweep KILL
  fi
  echo "test: interrupted" >&2
  exit "$1"
}
trap 'stop 130' INT
trap 'stop 143' TERM

run_part() {
  local part=$1 status=0 start=$SECONDS
  shift
  printf '\n=== %s: %s\n' "$part" "$*"
  if command -v setsid >/dev/null; then
    # In the background, so that a signal to this script is handled at once. A background process leads no group,
    # so setsid need not fork and its id is the session's.
    setsid "$@" </dev/null &
    session=$!
    wait "$session" || status=$?
    sweep KILL
    session=
  else
    "$@" </dev/null || status=$?
  fi
  seconds[$part]=$((SECONDS - start))
  case $status in
    0) result[$part]=passed ;;
    77) result[$part]="NOT RUN" ;;
    *) result[$part]=FAILED ;;
  esac
}

# count prints "passed failed skipped" of a part's test events. A package that failed without a failed test (it did not
# build, or crashed) counts as one failure.
count() {
  local events=.local/test/$1.json
  [ -f "$events" ] || { echo "0 0 0"; return; }
  awk '
    function field(name,   at, rest) {
      at = index($0, "\"" name "\":\"")
      if (!at) return ""
      rest = substr($0, at + length(name) + 4)
      return substr(rest, 1, index(rest, "\"") - 1)
    }
    {
      action = field("Action")
      if (action != "pass" && action != "fail" && action != "skip") next
      package = field("Package")
      if (field("Test") != "") { n[action]++; if (action == "fail") explained[package] }
      else if (action == "fail") failed[package]
    }
    END {
      for (package in failed) if (!(package in explained)) n["fail"]++
      print n["pass"] + 0, n["fail"] + 0, n["skip"] + 0
    }' "$events"
}

rm -rf .local/test
for part in "${parts[@]}"; do
  case $part in
    e2e) run_part e2e hack/e2e.sh ;;
    worker) run_part worker worker/wan/hack/test.sh ;;
    verify | lint) run_part "$part" make "$part" ;;
    *) run_part "$part" make "test-$part" ;;
  esac
done

passed=0 failed=0
printf '\n%-10s %-8s %8s %7s %7s %7s\n' part result seconds passed failed skipped
for part in "${parts[@]}"; do
  read -r p f s < <(count "$part")
  # A part can fail without a failed test: a finding of the linter, a cluster that does not start.
  if [ "${result[$part]}" = FAILED ] && [ "$f" -eq 0 ]; then f=1; fi
  passed=$((passed + p)) failed=$((failed + f))
  case $part in
    verify | lint) printf '%-10s %-8s %8d\n' "$part" "${result[$part]}" "${seconds[$part]}" ;;
    *) printf '%-10s %-8s %8d %7d %7d %7d\n' "$part" "${result[$part]}" "${seconds[$part]}" "$p" "$f" "$s" ;;
  esac
done
if [ "${result[worker]}" = "NOT RUN" ]; then
  cat <<'EOF'

  ############################################################################
  #  THE GPU WORKER WAS NOT TESTED. It needs Python 3.11 or newer with venv: #
  #  apt-get install python3 python3-venv                                    #
  ############################################################################
EOF
fi
if [ "${result[e2e]}" = "NOT RUN" ]; then
  cat <<'EOF'

  ############################################################################
  #  THE END-TO-END TEST DID NOT RUN. It needs a Linux machine and root.     #
  #  Nothing above has shown that the operator works on a real cluster.      #
  ############################################################################
EOF
fi
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
