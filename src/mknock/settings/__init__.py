"""Every setting of Knock, and the only place that reads them.

Importing this reads nothing. ``load_settings`` gathers the values from the
environment, from files named by ``NAME_FILE``, and from ``.env``; it reports
everything that is wrong at once, one sentence a problem, and never repeats a secret.
"""

from __future__ import annotations

from mknock.settings.door_table import DoorTable, LimitsTable, PageTable
from mknock.settings.doors_file import PLACEHOLDER, DoorsFile, doors_paths
from mknock.settings.problems import SettingsError, edits
from mknock.settings.reading import load_doors, load_settings
from mknock.settings.table import FILE_NAMES, KNOWN, NAMES, NO_SIGN_IN, Settings, SignIn
from mknock.settings.values import YEAR, duration, plain

__all__ = [
    "FILE_NAMES",
    "KNOWN",
    "NAMES",
    "NO_SIGN_IN",
    "PLACEHOLDER",
    "YEAR",
    "DoorTable",
    "DoorsFile",
    "LimitsTable",
    "PageTable",
    "Settings",
    "SettingsError",
    "SignIn",
    "doors_paths",
    "duration",
    "edits",
    "load_doors",
    "load_settings",
    "plain",
]
