"""A ledger is founded once, all of it or nothing."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyturn.ledger.errors import LedgerBroken, LedgerUnavailable
from keyturn.ledger.founding import found
from keyturn.ledger.keys import ENTRY_KEY, LOG_KEY, VERIFIER, load_key, make_key, store_key
from keyturn.ledger.place import Place
from keyturn.ledger.transaction import Transaction
from keyturn.ledger.writer import Ledger, Reader
from keyturn.log.keys import BadKey
from keyturn.model.errors import LedgerError
from tests.ledger.processes import kill_at_each_step
from tests.ledger.world import Uses, catalog, found_ledger, opened, raw, surroundings, use, verified


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_new_ledger_opens_with_log_opened_and_key_added_by_the_log_key_then_the_first_entries(place: Place) -> None:
    entries = verified(place)
    assert [entry.kind for entry in entries] == ["log.opened", "key.added", "catalog.published"]
    log_key, entry_key = load_key(place.keys / LOG_KEY), load_key(place.keys / ENTRY_KEY)
    assert [entry.kid for entry in entries] == [log_key.public.kid, log_key.public.kid, entry_key.public.kid]
    with opened(place) as ledger:
        assert ledger.look(lambda view: (view.head.size, view.state.entries)) == (3, 3)


def test_the_verifier_string_is_returned_and_stored(tmp_path: Path) -> None:
    founded = found_ledger(tmp_path / "state", name="here")
    assert (founded.place.keys / VERIFIER).read_text(encoding="ascii") == founded.verifier + "\n"
    assert founded.verifier.startswith("here/")
    assert verified(founded.place)[0].text("verifier") == founded.verifier


def test_keys_are_private_files_in_private_folders_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        place = found_ledger(tmp_path / "state").place
    finally:
        os.umask(before)
    assert [mode(path) for path in (place.folder, place.keys, place.run)] == [0o700] * 3
    files = (place.keys / LOG_KEY, place.keys / ENTRY_KEY, place.database, place.head)
    assert [mode(path) for path in files] == [0o600] * 4


def test_an_existing_folder_or_link_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("state", "dangling"):
        with pytest.raises(LedgerUnavailable, match="a ledger is founded once"):
            found_ledger(tmp_path / name)
    assert list((tmp_path / "state").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "state"]


def test_of_two_foundings_at_once_one_wins_and_the_other_leaves_nothing(tmp_path: Path) -> None:
    def slow(tx: Transaction[Any]) -> None:
        catalog(tx)
        found_ledger(tmp_path / "state", name="faster")

    with pytest.raises(LedgerUnavailable, match="found a ledger at"):
        found(tmp_path / "state", "slower", Uses, surroundings(), slow)
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert verified(Place(tmp_path / "state"))[0].log.startswith("faster/")


def test_a_founding_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def fails(tx: Transaction[Any]) -> None:
        catalog(tx)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        found(tmp_path / "state", "tests", Uses, surroundings(), fails)
    with pytest.raises(BadKey, match="origin"):
        found_ledger(tmp_path / "state", name="Not A Name")
    with pytest.raises(LedgerUnavailable, match="No such file"):
        found_ledger(tmp_path / "missing" / "state")
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_that_its_own_fold_refuses_is_not_founded(tmp_path: Path) -> None:
    def contradicts(tx: Transaction[Any]) -> None:
        use(tx, code="impossible")

    with pytest.raises(LedgerError, match="refused to found: entry 2: impossible"):
        found(tmp_path / "state", "tests", Uses, surroundings(), contradicts)
    assert list(tmp_path.iterdir()) == []


def test_a_founding_killed_at_any_step_leaves_no_ledger_and_a_second_one_works(tmp_path: Path) -> None:
    for killed, folder in enumerate(kill_at_each_step(tmp_path)):
        left = sorted(path.name for path in folder.iterdir())
        assert all(name.startswith("state.new-") for name in left), (killed, left)
        found_ledger(folder / "state")
        with opened(Place(folder / "state")) as ledger:
            ledger.transact(use)
    assert killed >= 20


def broken(change: Callable[[Place], object], tmp_path: Path) -> str:
    place = found_ledger(tmp_path / "state").place
    change(place)
    with pytest.raises(LedgerUnavailable) as caught:
        Ledger(place, Uses, surroundings())
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda place: (place.keys / ENTRY_KEY).chmod(0o640), "run: chmod 600 .*entry.key"),
        (lambda place: place.keys.chmod(0o750), "run: chmod 700 .*keys"),
        (lambda place: place.folder.chmod(0o755), "run: chmod 700 .*state"),
        (lambda place: (place.keys / ENTRY_KEY).unlink(), "keys are made by `keyturn init`"),
        (lambda place: (place.keys / ENTRY_KEY).write_text("-----BEGIN NOTHING-----"), "not a readable private key"),
        (lambda place: (place.keys / VERIFIER).unlink(), "make a home with `keyturn init`"),
        (lambda place: place.folder.rename(place.folder.with_name("moved")), "make a home with `keyturn init`"),
        (lambda place: place.database.unlink(), "the file must exist"),
    ],
)
def test_a_home_that_is_not_as_founded_is_refused_with_what_mends_it(
    change: Callable[[Place], object], words: str, tmp_path: Path
) -> None:
    assert re.search(words, broken(change, tmp_path))


def test_a_key_of_another_account_a_link_or_another_algorithm_is_refused(place: Place, tmp_path: Path) -> None:
    path = place.keys / ENTRY_KEY
    kept = path.read_bytes()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(kept)
    elsewhere.chmod(0o600)
    path.unlink()
    path.symlink_to(elsewhere)
    with pytest.raises(LedgerUnavailable, match="not a link"):
        load_key(path)
    path.unlink()
    pem = X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(pem)
    path.chmod(0o600)
    with pytest.raises(LedgerUnavailable, match="not an Ed25519 private key"):
        load_key(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another account")
def test_a_key_that_belongs_to_another_account_is_refused(place: Place) -> None:
    os.chown(place.keys / ENTRY_KEY, 4242, 4242)
    with pytest.raises(LedgerUnavailable, match=r"entry\.key belongs to another account"):
        load_key(place.keys / ENTRY_KEY)


def test_a_stored_key_is_never_replaced_and_never_shown(tmp_path: Path) -> None:
    key = make_key(bytes(range(32)))
    store_key(tmp_path / "entry.key", key)
    with pytest.raises(FileExistsError):
        store_key(tmp_path / "entry.key", make_key(bytes(32)))
    tmp_path.chmod(0o700)
    assert load_key(tmp_path / "entry.key").public == key.public
    assert repr(key) == f"SigningKey(kid={key.public.kid})"


def test_a_database_that_is_no_ledger_is_refused(place: Place) -> None:
    with raw(place) as db:
        db.execute("PRAGMA user_version = 3")
    with pytest.raises(LedgerBroken, match="layout 3; this Keyturn knows 2"):
        Reader(place, Uses, surroundings())
    with raw(place) as db:
        db.execute("PRAGMA application_id = 7")
    with pytest.raises(LedgerBroken, match="is not a Keyturn ledger"):
        Ledger(place, Uses, surroundings())
    place.database.write_bytes(b"no database at all, " * 512)
    with pytest.raises(LedgerBroken, match="keyturn audit verify"):
        Ledger(place, Uses, surroundings())


def test_a_home_that_pins_another_log_is_refused(place: Place, tmp_path: Path) -> None:
    other = found_ledger(tmp_path / "other")
    (place.keys / VERIFIER).write_text(other.verifier + "\n", encoding="ascii")
    with opened(place) as ledger, pytest.raises(LedgerBroken, match="another log than the one this home pins"):
        ledger.transact(use)


def test_an_entry_key_the_log_never_added_appends_nothing(place: Place, tmp_path: Path) -> None:
    other = found_ledger(tmp_path / "other").place
    (place.keys / ENTRY_KEY).write_bytes((other.keys / ENTRY_KEY).read_bytes())
    with opened(place) as ledger:
        with pytest.raises(LedgerError, match=r"no key in .* may sign this log"):
            ledger.transact(use)
        assert ledger.look(lambda view: view.head.size) == 3
