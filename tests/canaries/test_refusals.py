"""A refusal that a back end asked for and quotes brings no credential into its words, nor into the ledger."""

from __future__ import annotations

import pytest

from keyturn.connectors.credentials import Secret
from keyturn.connectors.http.answer import refusal_without
from tests.canaries.marks import MARK, Canaries


@pytest.mark.parametrize("sent", [f"Bearer ghp_{MARK}", f"ghp_{MARK}"])
def test_what_was_sent_is_taken_out_and_the_rest_stays(sent: str) -> None:
    body = b'{"message": "\xc3\xbc you sent Bearer ghp_' + MARK.encode() + b', and so on"}'
    told = refusal_without(body, [Secret(sent)])
    assert Canaries({"token": f"ghp_{MARK}"}).sightings(told) == []
    assert told.startswith(b'{"message": "\xc3\xbc you sent ')
    assert told.endswith(b', and so on"}')
