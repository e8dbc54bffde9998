#!/usr/bin/env bash
# Fetch the ALTCHA widget, in its build for a strict Content-Security-Policy, and put what the page needs of it
# into src/mknock/web/static/altcha, with licence, version and hashes:
#   tools/vendor-altcha.sh [VERSION]
# It uses npm as it is set up on your machine; no address gets into the files.
set -euo pipefail
cd "$(dirname "$0")/.."

version="${1:-3.2.2}"
target="$PWD/src/mknock/web/static/altcha"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

(cd "$scratch" && npm pack --silent "altcha@$version" >/dev/null && tar xzf altcha-*.tgz)
mkdir -p "$target"
cp "$scratch/package/dist/external/altcha.min.js" "$target/altcha.min.js"
cp "$scratch/package/dist/workers/pbkdf2.js" "$target/pbkdf2.js"
cp "$scratch/package/LICENSE.txt" "$target/LICENSE.txt"
{
  printf 'The ALTCHA widget (npm package "altcha", version %s), unchanged: build "external", for a strict\n' "$version"
  printf 'Content-Security-Policy, and the worker for PBKDF2. Fetched by tools/vendor-altcha.sh. SHA-256:\n\n'
  cd "$target" && sha256sum altcha.min.js pbkdf2.js LICENSE.txt
} >"$target/VERSION.txt"
