#!/usr/bin/env bash
# Makes the virtual environment of the tests, once per lock file, outside the checkout, and prints its interpreter:
#   worker/wan/hack/venv.sh FOLDER
# It takes what requirements-test.lock pins but for NVIDIA's libraries, several gigabytes that a CPU has no use for: see
# without_cuda.py. Exits with 77 when Python is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

python=
for candidate in python3.11 python3.12 python3.13 python3; do
  if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  cat >&2 <<'EOF'

  ############################################################################
  #  THE GPU WORKER WAS NOT TESTED. It needs Python 3.11 or newer with venv: #
  #  apt-get install python3 python3-venv                                    #
  #  (PyTorch and all else is then installed by `make test-worker`.)         #
  ############################################################################
EOF
  exit 77
fi

digest=$({ "$python" -c 'import sys; print(sys.version, sys.prefix)'; cat requirements-test.lock hack/venv.sh hack/without_cuda.py; } | sha256sum | cut -c1-16)
venv=$1/$digest
if [ ! -e "$venv/complete" ]; then
  echo "installing the GPU worker's packages (once per lock file)" >&2
  rm -rf "$venv"
  mkdir -p "$1"
  "$python" -m venv "$venv"
  awk '/^[a-z]/ {skip = /^(nvidia-|cuda-|triton=)/} !skip' requirements-test.lock >"$venv/without-cuda.lock"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
    -r "$venv/without-cuda.lock" >&2 || {
    cat >&2 <<'EOF'

  ############################################################################
  #  THE GPU WORKER WAS NOT TESTED: its packages, PyTorch among them, could  #
  #  not be installed. `pip install` must reach a package index.             #
  ############################################################################
EOF
    exit 1
  }
  "$venv/bin/python" hack/without_cuda.py >&2
  "$venv/bin/python" -m compileall -q "$venv/lib" >/dev/null 2>&1 || true # what does not compile is not imported
  touch "$venv/complete"
fi
echo "$venv/bin/python"
