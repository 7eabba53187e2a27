"""The doctor: everything that can be looked at to say whether a home is well, in one go and without a change.

Each check answers for itself: one that cannot be made is told as such, and the others are made all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from keyturn.assembly.boundary import running as running_for
from keyturn.assembly.doctor.anchors import anchors, read_anchored
from keyturn.assembly.doctor.finding import GROUPS, Finding, fail
from keyturn.assembly.doctor.ground import check_ground
from keyturn.assembly.doctor.machine import check_machine
from keyturn.assembly.doctor.record import Record, check_record, read_record
from keyturn.assembly.doctor.running import back_ends, notices, processes
from keyturn.assembly.home import Home, no_home
from keyturn.assembly.notifier import notify_state
from keyturn.assembly.outside import environment
from keyturn.assembly.ports import build_ports, world_of
from keyturn.assembly.standing import open_reader
from keyturn.assembly.survey import survey
from keyturn.assembly.wiring import read_anchors, read_wiring
from keyturn.assembly.writing import log_verifier
from keyturn.model.errors import ConfigurationError, LedgerError

__all__ = ["GROUPS", "Finding", "examine"]


def examine(home: Home) -> Iterator[Finding]:
    """Yield what every check finds. Raises `ConfigurationError` for a folder that is no home."""
    if not home.wiring.exists():
        raise ConfigurationError(no_home(home.folder))
    yield from check_machine(environment())
    present = list(running_for(home.folder))
    try:
        found = _look(home)
        surveyed = survey(home)
    except ConfigurationError as error:
        yield from (fail("ledger", problem) for problem in error.problems)
        yield from check_ground(home, (), present)
    except LedgerError as error:
        yield fail("ledger", str(error), "nothing is done without it", "keyturn audit verify")
        yield from check_ground(home, (), present)
    else:
        yield from check_ground(home, found.transports, present)
        yield from check_record(found, surveyed)
        yield from _anchored(home)
    yield processes(present)
    yield from _around(home)


def _look(home: Home) -> Record:
    with closing(open_reader(home, "keyturn doctor")) as reader:
        return reader.look(read_record)


def _anchored(home: Home) -> Iterator[Finding]:
    try:
        declared, verifier = read_anchors(home.wiring), log_verifier(home)
        with closing(open_reader(home, "keyturn doctor")) as reader:
            found = reader.look(lambda view: read_anchored(view, verifier))
    except ConfigurationError:
        return  # all that is wrong with the wiring is told below
    except LedgerError as error:
        yield fail("anchors", str(error), "nobody can tell how far they are", "keyturn audit verify")
    else:
        yield from anchors(declared, found)


def _around(home: Home) -> Iterator[Finding]:
    try:
        wiring = read_wiring(home.wiring)
        telling = notify_state(home)
        yield notices(wiring.notify, environment(), None if telling is None else telling.record)
        yield from back_ends(build_ports(wiring, world_of(home, commands=False)))
    except ConfigurationError as error:
        yield from (fail("wiring", problem, "its systems are not reached") for problem in error.problems)
