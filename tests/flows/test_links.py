"""Signed links: good for what they name, for a while, across restarts."""

import stat
from pathlib import Path

import pytest

from anubhav.errors import NotAllowed
from anubhav.flows.links import Links


def test_a_link_outlives_a_restart_and_nothing_else_is_signed(tmp_path: Path) -> None:
    file = tmp_path / "signing-key"
    ticket, until = Links(file).sign("file", "tinker://a:train:0/weights/x", "checkpoints/ck_1", seconds=60)
    assert Links(file).check(ticket) == ("file", "tinker://a:train:0/weights/x", "checkpoints/ck_1")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert until > 0
    body, _, mark = ticket.partition(".")
    for wrong in ("", ".", body, f"{body}.", f"{body}A.{mark}", f"{body}.{mark}0", f"{body[:-4]}.{mark}", "ü.ü"):
        with pytest.raises(NotAllowed):
            Links(file).check(wrong)
    with pytest.raises(NotAllowed):
        Links(tmp_path / "another").check(ticket)


def test_a_link_ends(tmp_path: Path) -> None:
    links = Links(tmp_path / "signing-key")
    ticket, _ = links.sign("file", "x", seconds=-1)
    with pytest.raises(NotAllowed, match="too old"):
        links.check(ticket)
