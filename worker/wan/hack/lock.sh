#!/usr/bin/env bash
# Pins everything that pyproject.toml asks for, with hashes: worker/wan/hack/lock.sh. Needs uv.
set -euo pipefail
cd "$(dirname "$0")/.."
uv pip compile --quiet --python-version 3.11 --no-header --no-annotate --no-emit-index-url --generate-hashes \
  --group test pyproject.toml -o requirements.lock
