#!/usr/bin/env bash
# Pin what pyproject.toml asks for, extras included, with hashes, for every Python from 3.11 and every platform.
# No address of a package index gets into the files: whoever installs uses the index of their own.
set -euo pipefail
cd "$(dirname "$0")/.."

pin() {
  local to="$1"
  shift
  .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --custom-compile-command "make requirements" --output-file "$to" "$@"
}

.venv/bin/python -m pip install -qq --no-input --disable-pip-version-check uv
pin requirements.txt pyproject.toml --all-extras "$@"
pin requirements-dev.txt pyproject.toml --all-extras --group dev --constraint requirements.txt "$@"
pin requirements-build.txt --group build --constraint requirements-dev.txt "$@"
