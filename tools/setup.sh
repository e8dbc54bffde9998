#!/usr/bin/env bash
# Make .venv and install what Knock needs into it:
#   tools/setup.sh run       what the service needs
#   tools/setup.sh dev       the same, and the tests, the linters and the throw-away homeserver
#   tools/setup.sh compose   something that can render compose.yaml (the packaging tests use it)
#   tools/setup.sh databases the oldest PostgreSQL and PgBouncer (the store's tests use them)
#   tools/setup.sh browser   Chromium (the tests of Knock's own page use it)
# Every package is pinned and checked against its hash. System packages are installed where that
# is possible without asking (root on Debian or Ubuntu); elsewhere one sentence says what to do.
set -euo pipefail
cd "$(dirname "$0")/.."

oldest="3, 11"
candidates=(python3 python3.13 python3.12 python3.14 python3.11 python)

give_up() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

may_install_packages() {
  [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null
}

install_packages() {
  printf 'setup: installing %s with apt-get\n' "$*" >&2
  export DEBIAN_FRONTEND=noninteractive
  # An old package list may name files that are gone; a failed update may still leave a usable one.
  apt-get update -qq >/dev/null || true
  apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

new_enough() {
  "$1" -c "import sys; sys.exit(sys.version_info < ($oldest))" >/dev/null 2>&1
}

has_pip_to_give() {
  "$1" -c 'import ensurepip' >/dev/null 2>&1
}

find_python() {
  local name
  for name in ${PYTHON:+"$PYTHON"} "${candidates[@]}"; do
    if new_enough "$name"; then
      printf '%s\n' "$name"
      return
    fi
  done
  return 1
}

python_to_use() {
  find_python && return
  may_install_packages && install_packages python3 python3-venv && find_python && return
  give_up "Knock needs Python 3.11 or newer and found none. Install one, or name it: PYTHON=/path/to/python3 make setup"
}

make_venv() {
  local python venv_package
  python=$(python_to_use)
  # Debian leaves ensurepip out of its python3 and puts it into a package of its own.
  if ! has_pip_to_give "$python"; then
    venv_package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    may_install_packages && install_packages "$venv_package"
    has_pip_to_give "$python" || give_up "$python cannot make virtual environments yet. Run: sudo apt-get install $venv_package"
  fi
  "$python" -m venv --clear .venv
  printf '%s\n' "$PWD" >.venv/home
}

venv_is_usable() {
  [ "$(cat .venv/home 2>/dev/null)" = "$PWD" ] && .venv/bin/python -m pip --version >/dev/null 2>&1
}

pip_install() {
  .venv/bin/python -m pip install -qq --no-input --disable-pip-version-check "$@"
}

install_into_venv() {
  venv_is_usable || make_venv
  printf 'setup: installing into .venv (the first time takes a minute or two)\n' >&2
  pip_install --require-hashes "$@"
  pip_install --no-deps --no-build-isolation --editable .
}

have_compose() {
  docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null
}

have_databases() {
  [ -x /usr/lib/postgresql/15/bin/initdb ] && PATH="$PATH:/usr/sbin" command -v pgbouncer >/dev/null
}

install_databases() {
  local no_cluster=/etc/postgresql-common/createcluster.conf
  # Only the programs are wanted: unless told otherwise, Debian makes and starts a server of the machine's own.
  [ -e "$no_cluster" ] || { mkdir -p "${no_cluster%/*}" && printf 'create_main_cluster = false\n' >"$no_cluster"; }
  install_packages postgresql-15 pgbouncer
}

have_browser() {
  command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null
}

case "${1:-}" in
  run)
    install_into_venv -r requirements.txt -r requirements-build.txt
    touch .venv/run.stamp
    ;;
  dev)
    install_into_venv -r requirements-dev.txt
    touch .venv/run.stamp .venv/dev.stamp
    ;;
  compose)
    have_compose || { may_install_packages && install_packages docker-compose; } ||
      printf 'setup: no "docker compose" here, so compose.yaml is only checked against its schema\n' >&2
    ;;
  databases)
    have_databases || { may_install_packages && install_databases; } ||
      printf 'setup: without PostgreSQL 15 and PgBouncer (packages postgresql-15, pgbouncer) some tests are skipped\n' >&2
    ;;
  browser)
    have_browser || { may_install_packages && install_packages chromium; } ||
      printf 'setup: without Chromium (package chromium) the tests of Knock'\''s own page are skipped\n' >&2
    ;;
  *)
    give_up "say what to set up: run, dev, compose, databases or browser"
    ;;
esac
