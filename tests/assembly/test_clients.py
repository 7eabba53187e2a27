"""What is said about a start of the server before it is pasted into a client."""

from __future__ import annotations

import pytest

from keyturn.assembly.clients import Start


def start(command: str) -> Start:
    return Start(command=command, arguments=("serve",), principal="claude")


@pytest.mark.parametrize("folder", ["archive-v0/kX3f", "environments-v2/keyturn-1a2b"])
def test_a_program_in_the_cache_of_uv_is_warned_of_with_the_way_to_install_it(folder: str) -> None:
    warning = start(f"/home/a/.cache/uv/{folder}/bin/keyturn").warning
    assert warning is not None
    assert "uv tool install" in warning


@pytest.mark.parametrize(
    "command",
    ["/home/a/.local/share/uv/tools/keyturn/bin/keyturn", "/home/a/uv/.venv/bin/keyturn", "/usr/bin/keyturn"],
)
def test_an_installed_program_is_not_warned_of(command: str) -> None:
    assert start(command).warning is None
