#!/usr/bin/env bash
# Runs every test but `make test-monitoring` (it builds Prometheus) and `make test-quota` (Kueue), part by part, and ends with a
# table of the parts and a line `N passed, N failed` that counts the tests. A failed part does not keep the others from running.
# Nothing is left running, also after a failure or ^C.
set -euo pipefail
cd "$(dirname "$0")/.."

# Two lanes run side by side: what wants the whole machine's cores, and what mostly waits for a cluster. The second goes
# first where both want a core: its tests have deadlines. The faults come after both: they keep all cores busy by themselves.
code=(verify lint unit controls modules envtest worker)
cluster=(e2e)
last=(faults)
parts=("${code[@]}" "${cluster[@]}" "${last[@]}")
logs=.local/test
lanes=() session=

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

# sweep sends a signal to what is left of the lane's current part.
sweep() {
  local pids
  mapfile -t pids < <(processes_of "$session")
  [ "${#pids[@]}" -eq 0 ] || kill "-$1" "${pids[@]}" 2>/dev/null || true
}

stop_lane() {
  trap '' INT TERM
  if [ -n "$session" ]; then
    sweep TERM
    wait "$session" 2>/dev/null || true # the part's own trap takes its cluster down first
    sweep KILL
  fi
  exit 1
}

stop() {
  trap '' INT TERM
  [ "${#lanes[@]}" -eq 0 ] || kill "${lanes[@]}" 2>/dev/null || true
  wait
  echo "test: interrupted; what the parts said is in $logs" >&2
  exit "$1"
}
trap 'stop 130' INT
trap 'stop 143' TERM

# run_part runs a command, shows what it said once it has ended, and leaves "<result> <seconds>" in the part's .result.
run_part() {
  local part=$1 status=0 start=$SECONDS result
  shift
  echo "test: $part has begun, see $logs/$part.log"
  if command -v setsid >/dev/null; then
    # In the background, so that a signal to the lane is handled at once. A background process leads no group,
    # so setsid need not fork and its id is the session's.
    setsid "$@" </dev/null >"$logs/$part.log" 2>&1 &
    session=$!
    wait "$session" || status=$?
    sweep KILL
    session=
  else
    "$@" </dev/null >"$logs/$part.log" 2>&1 || status=$?
  fi
  case $status in
    0) result=passed ;;
    77) result="NOT-RUN" ;;
    *) result=FAILED ;;
  esac
  echo "$result $((SECONDS - start))" >"$logs/$part.result"
  { # one part's words at a time
    ! command -v flock >/dev/null || flock 9
    printf '\n=== %s: %s\n' "$part" "$*"
    cat "$logs/$part.log"
  } 9>"$logs/turn"
}

# lane runs parts one after the other. A failed one does not keep the others from running.
lane() {
  trap stop_lane INT TERM
  local part
  for part in "$@"; do
    case $part in
      e2e) run_part e2e hack/e2e.sh ;;
      worker) run_part worker worker/wan/hack/test.sh ;;
      verify | lint) run_part "$part" make "$part" ;;
      *) run_part "$part" make "test-$part" ;;
    esac
  done
}

# count prints "passed failed skipped" of a part's test events. A package that failed without a failed test (it did not
# build, or crashed) counts as one failure.
count() {
  local events=$logs/$1.json
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

rm -rf "$logs"
mkdir -p "$logs"
{ renice -n 10 "$BASHPID" >/dev/null 2>&1 || true; lane "${code[@]}"; } &
lanes+=($!)
lane "${cluster[@]}" &
lanes+=($!)
wait "${lanes[@]}" || true
lane "${last[@]}" &
lanes=($!)
wait "${lanes[@]}" || true
declare -A result seconds
for part in "${parts[@]}"; do
  read -r "result[$part]" "seconds[$part]" <"$logs/$part.result" || result[$part]=FAILED seconds[$part]=0
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
if [ "${result[worker]}" = NOT-RUN ]; then
  cat <<'EOF'

  ############################################################################
  #  THE GPU WORKER WAS NOT TESTED. It needs Python 3.11 or newer with venv: #
  #  apt-get install python3 python3-venv                                    #
  ############################################################################
EOF
fi
if [ "${result[e2e]}" = NOT-RUN ]; then
  cat <<'EOF'

  ############################################################################
  #  THE END-TO-END TEST DID NOT RUN. It needs a Linux machine and root.     #
  #  Nothing above has shown that the operator works on a real cluster.      #
  ############################################################################
EOF
fi
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
