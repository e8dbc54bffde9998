"""The files of the pages: what is taken from others is unchanged, and nothing leads elsewhere."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest

from mknock.web.assets import address, assets

VERSION = assets()["altcha/VERSION.txt"].content.decode()


@pytest.mark.parametrize("name", ["altcha.min.js", "pbkdf2.js", "LICENSE.txt"])
def test_what_is_taken_from_others_is_unchanged(name: str) -> None:
    assert f"{sha256(assets()[f'altcha/{name}'].content).hexdigest()}  {name}" in VERSION


def test_it_is_said_which_version_was_taken() -> None:
    assert re.search(r'"altcha", version \d+\.\d+\.\d+\)', VERSION)


def test_an_address_changes_with_the_content() -> None:
    digests = {asset.digest for asset in assets().values()}
    assert len(digests) == len(assets())
    assert address("page.css") == f"static/{assets()['page.css'].digest}/page.css"


@pytest.mark.parametrize("name", ["page.css", "page.js"])
def test_our_own_files_lead_nowhere_else(name: str) -> None:
    assert not re.search(rb"https?:|//\w|@import|url\(", assets()[name].content)
