"""The configuration of the throw-away Synapse, as the dictionary that becomes its YAML.

What is switched off is what no test looks at. The limits are the catch:
Synapse counts eleven things, and a test that forgets one waits for minutes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tests.kit import jwt
from tests.kit.homeserver import SERVER_NAME, UNREACHABLE_SERVER

Limits = Literal["relaxed", "default"]
"""``relaxed`` never answers 429; ``default`` is what Synapse does out of the box."""

REGISTRATION_SECRET = "the registration secret of the tests"

_UNLIMITED = {"per_second": 100_000, "burst_count": 100_000}
_RELAXED: dict[str, Any] = {
    "rc_message": _UNLIMITED,
    "rc_registration": _UNLIMITED,
    "rc_login": {"address": _UNLIMITED, "account": _UNLIMITED, "failed_attempts": _UNLIMITED},
    "rc_joins": {"local": _UNLIMITED, "remote": _UNLIMITED},
    "rc_joins_per_room": _UNLIMITED,
    "rc_invites": {"per_room": _UNLIMITED, "per_user": _UNLIMITED, "per_issuer": _UNLIMITED},
    "rc_room_creation": _UNLIMITED,
    "rc_profile": _UNLIMITED,
    "rc_user_directory": _UNLIMITED,
}
_LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"level": "WARNING", "handlers": ["console"]},
}


def write_configuration(directory: Path, *, port: int, limits: Limits, settings: Mapping[str, Any]) -> Path:
    """Write all files that Synapse needs into ``directory`` and return the one to start it with."""
    signing_key = base64.b64encode(b"only for tests, never for a room").rstrip(b"=").decode()
    (directory / "signing.key").write_text(f"ed25519 a_test {signing_key}\n")
    (directory / "log.yaml").write_text(json.dumps(_LOGGING))
    configuration = _configuration(directory, port) | (_RELAXED if limits == "relaxed" else {})
    path = directory / "homeserver.yaml"
    path.write_text(json.dumps({**configuration, **settings}, indent=1))  # JSON is YAML
    return path


def database(directory: Path) -> Path:
    """Return where the homeserver in ``directory`` keeps its database."""
    return directory / "homeserver.db"


def _configuration(directory: Path, port: int) -> dict[str, Any]:
    return {**_place(directory, port), **_accounts(), **_federation(), **_switched_off()}


def _place(directory: Path, port: int) -> dict[str, Any]:
    listener = {
        "port": port,
        "bind_addresses": ["127.0.0.1"],
        "type": "http",
        "tls": False,
        "resources": [{"names": ["client"], "compress": False}],
    }
    return {
        "server_name": SERVER_NAME,
        "public_baseurl": f"http://127.0.0.1:{port}/",
        "listeners": [listener],
        "database": {"name": "sqlite3", "args": {"database": str(database(directory))}},
        "media_store_path": str(directory / "media"),
        "signing_key_path": str(directory / "signing.key"),
        "log_config": str(directory / "log.yaml"),
        "pid_file": str(directory / "homeserver.pid"),
    }


def _accounts() -> dict[str, Any]:
    return {
        "enable_registration": False,
        "registration_shared_secret": REGISTRATION_SECRET,
        "macaroon_secret_key": "a macaroon secret of the tests",
        "form_secret": "a form secret of the tests",
        "bcrypt_rounds": 4,
        "jwt_config": {"enabled": True, "secret": jwt.SECRET, "algorithm": "HS256", "subject_claim": "sub"},
    }


def _federation() -> dict[str, Any]:
    """One server is allowed, and nothing listens there; any other is denied. Nothing leaves the machine."""
    return {
        "federation_domain_whitelist": [UNREACHABLE_SERVER],
        "federation": {
            "max_short_retries": 0,
            "destination_min_retry_interval": "1s",
            "client_timeout": "5s",
        },
        "trusted_key_servers": [],
        "suppress_key_server_warning": True,
    }


def _switched_off() -> dict[str, Any]:
    off = {"enabled": False}
    return {
        "report_stats": False,
        "enable_metrics": False,
        "url_preview_enabled": False,
        "presence": off,
        "push": off,
        "user_directory": off,
    }
