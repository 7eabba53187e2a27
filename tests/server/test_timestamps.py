"""A home with a timestamp authority: stamped on demand, required before an effect, and told to auditors."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.anchors.authority import NEEDED, stamping
from tests.evidence.bundling import asked
from tests.server.home import found
from tests.server.test_anchoring import recorded, verb, verifier_of
from tests.server.test_anchoring_before import HELLO, ask_first
from tests.server.web import site

pytestmark = NEEDED
pytest.importorskip("rfc3161_client", reason="keyturn[rfc3161] is not installed")


def test_an_intent_is_stamped_before_its_effect_and_an_auditor_gets_a_bound_for_the_time(tmp_path: Path) -> None:
    place = found(tmp_path / "one")
    with stamping(tmp_path / "tsa") as authority:
        with (place.folder / "keyturn.toml").open("a") as wiring:
            wiring.write(f'\n[anchors.clock]\nkind = "rfc3161"\nurl = "{authority.url}"\nprivate = true\n')
            wiring.write(f'certificates = "{authority.root}"\nrequired = true\nevery = "1h"\n')
        assert ask_first(place).code == 0
        with site(place) as running:
            assert running.envelope(place.token, "update_ticket", **HELLO)["status"] == "succeeded"
            assert running.stop() == 0
        done = verb(place, "audit", "anchor", "clock")
        assert done.code == 0, done.err + done.out
    intent = place.entries("execution.started")[0].seq
    assert any(entry.facts["size"] == intent + 1 for entry in recorded(place, "clock"))
    report = json.loads(verb(place, "audit", "verify", "--tsa-cert", str(authority.root), "--json").out)
    assert report["anchored_before"] == {"actions": 1, "cosigned": 0}
    assert report["timestamps"] == len(report["stamps"]) == len(recorded(place, "clock"))
    assert {(stamp["by"], stamp["problem"]) for stamp in report["stamps"]} == {("CN=tsa", None)}
    bundle = tmp_path / "bundle.zip"
    assert verb(place, "audit", "export", "--out", str(bundle)).code == 0
    said = asked(bundle, verifier_of(place), python=sys.executable)
    assert said["timestamps"] == {"there": report["timestamps"], "checked": 0}
