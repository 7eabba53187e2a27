"""No credential is in anything that a campaign through success and every failure leaves behind."""

from __future__ import annotations

import pytest

from tests.bed.recorder import digest
from tests.canaries.campaign import EFFECTS, Campaign, faults

pytestmark = pytest.mark.timeout(400)
"""The campaign is led before the first of these tests."""

KINDS = (
    "answers",
    "command line",
    "errors",
    "exports and copies",
    "files of the home",
    "live objects",
    "log",
    "metrics",
    "standard error",
    "requests to deployments.web",
    "requests to forge.app",
    "requests to forge.far",
    "requests to forge.shop",
    "requests to tickets.ops",
)


@pytest.mark.parametrize("kind", KINDS)
def test_no_credential_is_in(led: Campaign, kind: str) -> None:
    assert led.evidence.kept[kind]
    assert led.evidence.sightings(led.canaries, kind) == []


def test_nothing_was_kept_that_is_not_looked_at(led: Campaign) -> None:
    assert set(led.evidence.kept) == set(KINDS)


def test_the_campaign_had_every_kind_of_success_and_failure(led: Campaign) -> None:
    places = {system.place for system in led.systems}
    assert {
        place for (place, fault), status in led.ended.items() if (fault, status) == ("nothing", "succeeded")
    } == places
    assert {fault for _, fault in led.ended} == {"nothing", *EFFECTS}
    assert {"failed", "unknown"} <= set(led.ended.values())
    assert led.raised.get("nothing", []) == [], [one[:300] for one in led.evidence.kept["errors"][:9]]
    assert all(len(led.raised[name]) >= 4 for name in faults())


def test_each_system_got_its_own_credential_and_no_other(led: Campaign) -> None:
    own = {
        "forge.shop": {"the token in a variable"},
        "tickets.ops": {"the token in a file"},
        "forge.far": {"the pair of basic authentication"},
        "deployments.web": {"the token of a kubeconfig"},
    }
    digests = {digest(secret): name for name, secret in led.canaries.secrets.items()}
    for system in led.systems:
        if system.proxy is None or system.place not in own:
            continue
        sent = {exchange.credential for exchange in system.proxy.seen.exchanges if exchange.credential}
        names = {digests.get(credential, "unknown") for credential in sent}
        assert sent
        if system.place != "forge.far":  # its pair is written in base64
            assert names == own[system.place]


def test_the_search_finds_what_is_there(led: Campaign) -> None:
    """The same search, over what operators keep: each credential is where it was laid down."""
    for name, secret in led.canaries.secrets.items():
        assert name in led.canaries.sightings(f"x{secret}y".encode())
    for file in ("ops-token", "app.pem", "far-password"):
        assert led.canaries.sightings((led.operator / file).read_bytes())
