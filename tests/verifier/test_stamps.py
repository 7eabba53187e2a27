"""Timestamps as an auditor sees them: a bound for the time by an authority that is named, and nothing else."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from keyturn import canon
from keyturn.log.entry import Entry
from keyturn.log.timestamp import ask, read_authorities
from keyturn.model.errors import ConfigurationError
from keyturn.verifier import in_words
from tests.anchors.authority import NEEDED, Authority, stamping
from tests.verifier.outside import note, root, text_of
from tests.verifier.world import Thief

pytestmark = NEEDED
pytest.importorskip("rfc3161_client", reason="keyturn[rfc3161] is not installed")
SIZE = 53


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with stamping(tmp_path_factory.mktemp("tsa") / "first") as one:
        yield one


def stamped(thief: Thief, size: int, authority: Authority, of: int | None = None, token: bytes = b"") -> Entry:
    """Append that a checkpoint was stamped; `of` is the size that really was."""
    query = ask(text_of(thief.world, of or size), read_authorities(authority.root.read_bytes()))
    answer = token or authority.stamp(query.data)
    data = {
        "anchor.note": canon.encode(note(thief.world, size).decode()),
        "anchor.token": canon.encode(base64.b64encode(answer).decode()),
    }
    facts = {"anchor": "clock", "type": "rfc3161", "size": size, "root": root(thief.world, size).hex()}
    return thief.append("anchor.recorded", facts, data=data)


def test_a_timestamp_bounds_the_time_and_vouches_for_nothing_else(thief: Thief, authority: Authority) -> None:
    entry = stamped(thief, SIZE, authority)
    report = thief.world.verify(tsa=authority.root.read_bytes())
    assert (report.verdict, report.witnessed_size, report.timestamps) == ("PASS-UNANCHORED", 0, 1)
    (stamp,) = report.stamps
    assert (stamp.seq, stamp.size, stamp.by, stamp.problem) == (entry.seq, SIZE, "CN=first", None)
    assert stamp.at is not None
    assert abs(datetime.now(UTC) - stamp.at) < timedelta(minutes=1)
    told = [line for line in in_words(report) if "timestamped by CN=first (entry 53)" in line]
    assert told
    assert told[0].startswith("entries 0 to 52 existed by 2")
    assert report.to_json()["stamps"][0]["by"] == "CN=first"


def test_without_certificates_timestamps_are_counted_and_said_not_to_be_checked(
    thief: Thief, authority: Authority
) -> None:
    stamped(thief, SIZE, authority)
    report = thief.world.verify()
    assert (report.timestamps, report.stamps) == (1, ())
    assert any("timestamps: 1, not checked" in line for line in in_words(report))


@pytest.mark.parametrize("case", ["another tree", "another authority", "no token"])
def test_a_timestamp_that_does_not_hold_is_told_and_bounds_nothing(
    thief: Thief, authority: Authority, case: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    certificates = authority.root.read_bytes()
    if case == "another tree":
        stamped(thief, SIZE, authority, of=SIZE - 1)
    elif case == "no token":
        stamped(thief, SIZE, authority, token=b"nothing")
    else:
        stamped(thief, SIZE, authority)
        certificates = Authority(tmp_path_factory.mktemp("tsa") / "other").made().root.read_bytes()
    report = thief.world.verify(tsa=certificates)
    (stamp,) = report.stamps
    assert (report.verdict, stamp.at, stamp.by) == ("PASS-UNANCHORED", None, None)
    assert any(f"the timestamp of entry {SIZE} does not hold: " in line for line in in_words(report))
    assert not any("timestamped by" in line for line in in_words(report))


def test_what_is_given_and_is_no_certificate_is_refused(thief: Thief) -> None:
    with pytest.raises(ConfigurationError, match="no certificates in PEM"):
        thief.world.verify(tsa=b"nothing")
