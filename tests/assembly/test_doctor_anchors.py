"""How the doctor judges an anchor: by what is signed, what it has, and its own pace."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keyturn.anchors import file
from keyturn.assembly.doctor.anchors import Outward, anchors
from keyturn.assembly.signing import Standing
from keyturn.fold.standing import Anchored
from keyturn.ledger.checkpoints import Kept
from keyturn.log.checkpoint import Checkpoint

NOW = datetime(2026, 11, 21, tzinfo=UTC)
SETTINGS = file.Settings(path="x", every="10m")


def level(size: int, ago: timedelta, signed: int = 100) -> str:
    kept = Kept(Checkpoint("shop/" + "0" * 32, signed, bytes(32)), b"")
    standing = Standing(signed + 1, kept, {"mount": Anchored(size, NOW - ago)})
    (finding,) = anchors({"mount": SETTINGS}, Outward(standing=standing, unsigned=None, loss=None, now=NOW))
    return finding.level


def test_one_that_has_all_that_is_signed_is_well_however_old_that_is() -> None:
    assert level(100, timedelta(days=9)) == "ok"


def test_one_that_lags_is_well_within_its_pace_and_told_beyond_it() -> None:
    assert level(90, timedelta(minutes=12)) == "ok"
    assert level(90, timedelta(minutes=20)) == "warn"


def test_what_no_checkpoint_holds_is_told_where_anchors_wait_for_it() -> None:
    kept = Kept(Checkpoint("shop/" + "0" * 32, 100, bytes(32)), b"")
    standing = Standing(500, kept, {"mount": Anchored(100, NOW - timedelta(days=9))})

    def levels(ago: timedelta) -> list[str]:
        seen = Outward(standing=standing, unsigned=NOW - ago, loss=None, now=NOW)
        return [one.level for one in anchors({"mount": SETTINGS}, seen)]

    assert levels(timedelta(minutes=4)) == ["ok"]
    assert levels(timedelta(minutes=6)) == ["ok", "warn"]
    assert len(list(anchors({}, Outward(standing=standing, unsigned=NOW, loss=None, now=NOW)))) == 1
