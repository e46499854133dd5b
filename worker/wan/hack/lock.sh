#!/usr/bin/env bash
# Pins everything that pyproject.toml asks for, with hashes: worker/wan/hack/lock.sh. Needs uv. The image takes
# requirements.lock; the tests take requirements-test.lock, which is the same and what tests need beside it.
set -euo pipefail
cd "$(dirname "$0")/.."
pin() {
  uv pip compile --quiet --python-version 3.11 --no-header --no-annotate --no-emit-index-url --generate-hashes "$@" pyproject.toml
}
pin --group test -o requirements-test.lock
pin --constraint <(sed 's/ *\\$//; /--hash/d' requirements-test.lock) -o requirements.lock
