"""Pushes that are lost, late, raced or refused: the outcome is right or unknown-then-settled, and lands once."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import anyio
import pytest

from keyturn.connectors.forge import Closed, Closing, Landed, Opening
from keyturn.connectors.forge.remote import RemoteForge
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Stale
from tests.connectors.forge.contract import CHANGE, apply, close, closing, land, opening, pull, revision, snapshot
from tests.connectors.forge.remote.served import Exchange, Manners, Remote, Server, remote, served
from tests.connectors.forge.repository import ENVIRONMENT, action

ROOT = str(Path(__file__).parents[4])
PULL = f"refs/keyturn/pull/{action(1).action}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "root").mkdir()
    with served(tmp_path / "root", Manners()) as running:
        yield running


@pytest.fixture
def fresh(server: Server) -> Remote:
    """A remote that no pull request of ours was ever opened on."""
    return remote(server)


@pytest.fixture
def shop(fresh: Remote) -> Remote:
    """A remote that has taken a ref of ours before."""
    fresh.git("update-ref", "refs/keyturn/place", "main")
    return fresh


def pushes(server: Server) -> list[Exchange]:
    return [exchange for exchange in server.manners.seen if exchange.pushing]


def replay(server: Server, exchange: Exchange) -> None:
    """Let a push that was on its way arrive now."""
    headers = {name: text for name, text in exchange.headers.items() if name.startswith(("content-", "git-"))}
    url = f"http://127.0.0.1:{server.port}{exchange.target}"
    request = urllib.request.Request(url, data=exchange.body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - loopback
            answer.read()
    except HTTPError:
        return


# lost


def test_an_answer_that_is_lost_after_the_push_is_found_by_looking(server: Server, shop: Remote) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    server.manners.cut = lambda exchange: exchange.pushing
    landed = land(forge, change, action(1))
    assert landed.commit == shop.head(action(1).marker)
    assert len(pushes(server)) == 1


@pytest.mark.parametrize("verb", ["update", "close"])
def test_an_answer_lost_after_an_update_or_a_closing_is_found_by_looking(
    server: Server, shop: Remote, verb: str
) -> None:
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    server.manners.seen.clear()
    server.manners.cut = lambda exchange: exchange.pushing
    if verb == "update":
        assert isinstance(apply(forge, revision(forge, action(1), {"x": b"x\n"}), action(2)), Landed)
    else:
        assert isinstance(close(forge, closing(forge, action(1)), action(2)), Closed)
    assert len(pushes(server)) == 1


@pytest.mark.parametrize("late", [True, False])
def test_a_push_that_is_lost_is_unknown_and_a_probe_settles_it_whether_it_comes_late_or_not(
    server: Server, shop: Remote, late: bool
) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    server.manners.dropped = lambda exchange: exchange.pushing
    with pytest.raises(ConnectorError, match="outcome is not known") as doubt:
        apply(forge, change, action(1))
    assert doubt.value.kind == "unknown"
    (lost,) = pushes(server)
    server.manners.dropped = lambda _: False
    if not late:
        replay(server, lost)
    answer = anyio.run(forge.probe, change, action(1))
    assert isinstance(answer, CannotHappen if late else Landed)
    before = shop.refs()
    replay(server, lost)
    assert shop.refs() == before
    assert (shop.head(action(1).marker) is None) is late


def test_a_lost_closing_that_comes_after_the_probe_closes_nothing(server: Server, shop: Remote) -> None:
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    change = closing(forge, action(1))
    server.manners.seen.clear()
    server.manners.dropped = lambda exchange: exchange.pushing
    with pytest.raises(ConnectorError) as doubt:
        close(forge, change, action(2))
    assert doubt.value.kind == "unknown"
    (lost,) = pushes(server)
    server.manners.dropped = lambda _: False
    assert isinstance(anyio.run(forge.probe_closing, change, action(2)), CannotHappen)
    replay(server, lost)
    assert shop.head(action(1).marker) == change.head


def test_whatever_fails_after_a_lost_push_leaves_it_unknown(server: Server, shop: Remote) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    gone: list[Exchange] = []

    def fail(exchange: Exchange) -> int | None:
        if gone:
            return 403
        gone.extend([exchange] if exchange.pushing else [])
        return None

    server.manners.before = fail
    server.manners.dropped = lambda exchange: exchange.pushing
    with pytest.raises(ConnectorError) as doubt:
        apply(forge, change, action(1))
    assert doubt.value.kind == "unknown"
    assert "then:" in str(doubt.value)


def test_a_push_that_the_server_answers_with_no_has_not_happened(server: Server, shop: Remote) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    server.manners.before = lambda exchange: 403 if exchange.pushing else None
    with pytest.raises(ConnectorError, match="refuses the request") as refused:
        apply(forge, change, action(1))
    assert refused.value.kind == "refused"


def test_a_server_that_answers_too_late_leaves_a_push_unknown_and_a_read_to_be_tried_again(
    server: Server, shop: Remote
) -> None:
    gate = threading.Event()
    server.manners.before = lambda exchange: None if gate.wait(20) else 500
    forge = shop.forge(timeout=3)
    with pytest.raises(ConnectorError, match="took longer") as refusal:
        snapshot(forge, "main", "README.md")
    assert refusal.value.kind == "retry"
    gate.set()
    patient = shop.forge()
    change = opening(patient, CHANGE)
    held = threading.Event()
    server.manners.before = lambda exchange: None if not exchange.pushing or held.wait(20) else 500
    with pytest.raises(ConnectorError, match="took longer") as doubt:
        apply(forge, change, action(1))
    assert doubt.value.kind == "unknown"
    held.set()
    assert isinstance(anyio.run(patient.probe, change, action(1)), Landed | CannotHappen)


def test_a_probe_that_cannot_reach_the_server_cannot_tell(server: Server, shop: Remote) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    server.manners.before = lambda _: 503
    assert isinstance(anyio.run(forge.probe, change, action(1)), CannotTell)


def test_one_server_error_on_the_way_is_survived(server: Server, shop: Remote) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    count: list[Exchange] = []

    def stumble(exchange: Exchange) -> int | None:
        count.append(exchange)
        return 503 if len(count) == 1 else None

    server.manners.before = stumble
    assert isinstance(apply(forge, change, action(1)), Landed)


# raced


def test_executors_in_homes_of_their_own_make_one_commit(shop: Remote) -> None:
    change = opening(shop.forge(), CHANGE)
    answers: list[Landed | Stale] = []
    threads = [
        threading.Thread(target=lambda n=number: answers.append(apply(shop.forge(home=f"h{n}"), change, action(1))))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [Landed(action(1).marker, shop.head(action(1).marker) or "")] * 4


def test_probe_and_executor_in_homes_of_their_own_never_disagree(shop: Remote) -> None:
    change = opening(shop.forge(), {"x.txt": b"x\n"})
    executor, prober = shop.forge(home="one"), shop.forge(home="two")
    outcomes = set()
    for number in range(5):
        answers: list[object] = []

        def execute(number: int = number, answers: list[object] = answers) -> None:
            try:
                answers.append(apply(executor, change, action(number)))
            except ConnectorError as error:
                answers.append(error)

        thread = threading.Thread(target=execute)
        thread.start()
        probe = anyio.run(prober.probe, change, action(number))
        thread.join()
        landed = shop.head(action(number).marker) is not None
        assert isinstance(answers[0], Landed) is landed
        assert isinstance(probe, Landed if landed else CannotHappen)
        outcomes.add(landed)
    assert outcomes


@pytest.mark.parametrize("verb", ["update", "close"])
def test_what_others_push_between_our_look_and_our_push_is_kept_and_makes_it_stale(
    server: Server, shop: Remote, verb: str
) -> None:
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    update, change = revision(forge, action(1), {"x": b"x\n"}), closing(forge, action(1))
    theirs: list[str] = []

    def push(exchange: Exchange) -> None:
        if exchange.pushing and not theirs:
            theirs.append(shop.commit(action(1).marker, {"theirs.txt": b"theirs\n"}))

    server.manners.before = push
    answer = apply(forge, update, action(2)) if verb == "update" else close(forge, change, action(2))
    assert isinstance(answer, Stale)
    assert shop.head(action(1).marker) == theirs[0]
    assert [ref for ref in shop.refs() if action(2).action in ref] == []


def test_a_fence_that_comes_between_our_look_and_our_push_keeps_us_out(server: Server, shop: Remote) -> None:
    forge, other = shop.forge(), shop.forge(home="other")
    change = opening(forge, CHANGE)
    answers: list[object] = []

    def fence(exchange: Exchange) -> None:
        if exchange.pushing and not answers:
            answers.append(None)
            answers.append(anyio.run(other.probe, change, action(1)))

    server.manners.before = fence
    with pytest.raises(ConnectorError, match="cannot land any more"):
        apply(forge, change, action(1))
    assert isinstance(answers[1], CannotHappen)
    assert shop.head(action(1).marker) is None
    with pytest.raises(ConnectorError, match="no pull request"):
        pull(forge, action(1))


# killed

STEPS = (
    "import sys, anyio, pickle; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
    "from tests.connectors.forge.remote.served import Remote, Settings;"
    "from tests.connectors.forge.repository import action;"
    "shop = Remote(Path(sys.argv[2]), Settings.model_validate_json(sys.argv[3]));"
    "change = pickle.loads(Path(sys.argv[7]).read_bytes());"
    "forge = shop.forge(path=sys.argv[5]); ref = action(int(sys.argv[6]));"
    "anyio.run(getattr(forge, sys.argv[4]), change, ref)"
)


def killed_at(shop: Remote, verb: str, change: Opening | Closing, number: int, step: int) -> bool:
    """Run a process that is killed at its `step`th call of git over the network, before or after; say if it was."""
    folder = shop.path.parent.parent / f"{verb}{step}"
    folder.mkdir()
    kill = "kill -9 $PPID; exit 9"
    before, after = (kill, "true") if step % 2 else ("true", kill)
    (folder / "git").write_text(
        '#!/bin/sh\ncase "$*" in *" ls-remote "*|*" fetch "*|*" push "*) ;; *) exec /usr/bin/git "$@";; esac\n'
        f"echo x >> {folder}/count; n=$(wc -l < {folder}/count)\n"
        f'if [ "$n" -ne {(step + 1) // 2} ]; then exec /usr/bin/git "$@"; fi\n'
        f'{before}; /usr/bin/git "$@"; {after}\n'
    )
    (folder / "git").chmod(0o755)
    (folder / "change").write_bytes(pickle.dumps(change))
    arguments = [ROOT, str(shop.path), shop.settings.model_dump_json(), verb, f"{folder}:{ENVIRONMENT['PATH']}"]
    ran = subprocess.run(
        [sys.executable, "-c", STEPS, *arguments, str(number), str(folder / "change")],
        check=False,
        capture_output=True,
        cwd=ROOT,
    )
    assert ran.returncode in (0, -9), ran.stderr.decode()
    return ran.returncode == -9


@pytest.mark.parametrize("probing", [False, True])
def test_an_executor_killed_at_any_call_over_the_network_has_landed_or_can_be_settled(
    shop: Remote, probing: bool
) -> None:
    step = 1
    landed: list[bool] = []
    forge = shop.forge()
    change = opening(forge, CHANGE)
    while killed_at(shop, "apply", change, step, step):
        ref = action(step)
        answer = anyio.run(forge.probe, change, ref) if probing else apply(forge, change, ref)
        there = shop.head(ref.marker) is not None
        assert isinstance(answer, Landed if there else CannotHappen)
        landed.append(there)
        step += 1
    assert len(landed) >= 4
    assert landed[-1]
    assert (False in landed) is probing


def test_a_closing_killed_at_any_call_over_the_network_is_done_once_by_the_next(shop: Remote) -> None:
    step = 1
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    change, before = closing(forge, action(1)), shop.refs()
    while killed_at(shop, "close", change, 100, step):
        assert isinstance(close(shop.forge(), change, action(100)), Closed)
        assert shop.head(action(1).marker) is None
        assert pull(forge, action(1)).status == "closed"
        shop.git("update-ref", "-d", f"refs/keyturn/close/{action(100).action}")
        for ref, oid in before.items():
            shop.git("update-ref", ref, oid)
        step += 1
    assert step >= 4


@pytest.mark.parametrize("lost", ["branch", "pull"])
def test_what_a_crash_of_the_server_left_of_an_opening_is_completed(shop: Remote, lost: str) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    landed = land(forge, change, action(1))
    whole = shop.refs()
    shop.git("update-ref", "-d", PULL if lost == "pull" else f"refs/heads/{landed.branch}")
    assert anyio.run(forge.probe, change, action(1)) == landed
    assert land(forge, change, action(1)) == landed
    left = {ref for ref in whole if lost == "pull" or ref != f"refs/heads/{landed.branch}"}
    assert shop.refs().keys() == left  # a branch alone that is gone may have been deleted by people


# refused


def said(forge: RemoteForge, level: str) -> str:
    return "\n".join(f"{item.text} | {item.advice}" for item in anyio.run(forge.check) if item.level == level)


def test_a_server_without_atomic_pushes_is_refused_before_anything_is_planned(server: Server, shop: Remote) -> None:
    shop.git("config", "receive.advertiseAtomic", "false")
    with pytest.raises(ConnectorError, match="several refs at once"):
        snapshot(shop.forge(), "main", "README.md")
    assert "several refs at once" in said(shop.forge(), "wrong")
    assert pushes(server) == []


def test_before_the_first_landing_it_is_seen_that_our_refs_are_taken(server: Server, fresh: Remote) -> None:
    forge = fresh.forge()
    land(forge, opening(forge, CHANGE), action(1))
    land(forge, opening(forge, {"x": b"x\n"}), action(2))
    assert len(pushes(server)) == 3
    assert fresh.refs()["refs/keyturn/place"] == fresh.head("main")


@pytest.mark.parametrize("arrives", [True, False])
def test_if_that_answer_is_lost_the_action_has_not_begun(server: Server, fresh: Remote, arrives: bool) -> None:
    forge = fresh.forge()
    change = opening(forge, CHANGE)
    if arrives:
        server.manners.cut = lambda exchange: len(pushes(server)) == 1 and exchange.pushing
        assert isinstance(apply(forge, change, action(1)), Landed)
        return
    server.manners.dropped = lambda exchange: exchange.pushing
    with pytest.raises(ConnectorError, match="nothing was landed yet") as refusal:
        apply(forge, change, action(1))
    assert refusal.value.kind == "retry"
    assert len(pushes(server)) == 1


def test_a_part_that_a_server_moved_all_the_same_is_never_called_a_failure(shop: Remote) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    shop.git("config", "receive.hideRefs", "refs/keyturn")
    shop.git("config", "uploadpack.hideRefs", "!refs/keyturn")
    with pytest.raises(ConnectorError, match=r"a part of it is there.*moved a part of the refs") as doubt:
        apply(forge, change, action(1))
    assert doubt.value.kind == "unknown"
    assert isinstance(anyio.run(forge.probe, change, action(1)), CannotTell)
    shop.git("config", "--unset", "receive.hideRefs")
    assert isinstance(anyio.run(forge.probe, change, action(1)), Landed)


def test_a_server_that_hides_our_refs_later_closes_nothing(server: Server, shop: Remote) -> None:
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    change = closing(forge, action(1))
    shop.git("config", "receive.hideRefs", "refs/keyturn")
    shop.git("config", "uploadpack.hideRefs", "!refs/keyturn")
    server.manners.seen.clear()
    with pytest.raises(ConnectorError, match="stale info") as refusal:
        close(forge, change, action(2))
    assert refusal.value.kind == "retry"
    assert pushes(server) == []  # git itself sees that the record is not told of as it should be
    assert shop.head(action(1).marker) == change.head


def test_a_server_that_takes_no_refs_of_ours_is_refused_and_remembered(fresh: Remote) -> None:
    shop = fresh
    shop.git("config", "receive.hideRefs", "refs/keyturn")
    forge = shop.forge()
    change = opening(forge, CHANGE)
    assert "not known before" in said(forge, "note")
    with pytest.raises(ConnectorError, match="takes no refs below refs/keyturn/") as refusal:
        apply(forge, change, action(1))
    assert refusal.value.kind == "refused"
    assert list(shop.refs()) == ["refs/heads/main"]
    with pytest.raises(ConnectorError, match="takes no refs below"):
        snapshot(forge, "main", "README.md")
    assert "takes no refs below" in said(forge, "wrong")


def test_a_hook_that_declines_is_quoted_short_and_clean(shop: Remote) -> None:
    hook = shop.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    flood = "yes 'fatal: unable to access' | head -500 >&2"
    hook.write_text(f"#!/bin/sh\nprintf 'no \\033[31mway\\n' >&2; {flood}; exit 1\n")
    hook.chmod(0o755)
    forge = shop.forge()
    change = opening(forge, CHANGE)
    with pytest.raises(ConnectorError, match="hook declined") as refusal:
        apply(forge, change, action(1))
    assert refusal.value.kind == "refused"
    assert "\x1b" not in str(refusal.value)
    assert "the server says" in str(refusal.value)
    assert len(str(refusal.value)) < 1000
    assert shop.head(action(1).marker) is None


def test_a_server_that_keeps_its_branches_refuses_a_closing_as_a_whole(shop: Remote) -> None:
    shop.git("config", "receive.denyDeletes", "true")
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    before = shop.refs()
    with pytest.raises(ConnectorError, match="deletion prohibited") as refusal:
        close(forge, closing(forge, action(1)), action(2))
    assert refusal.value.kind == "refused"
    assert shop.refs() == before


def test_a_branch_called_keyturn_blocks_with_a_reason(shop: Remote) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    shop.git("update-ref", "refs/heads/keyturn", "main")
    with pytest.raises(ConnectorError, match="called keyturn") as refusal:
        apply(forge, change, action(1))
    assert refusal.value.kind == "refused"
    assert isinstance(anyio.run(forge.probe, change, action(1)), CannotHappen)
    assert "called keyturn" in said(forge, "wrong")


def test_a_repository_without_a_commit_is_named(server: Server, shop: Remote) -> None:
    shop.git("update-ref", "-d", "refs/heads/main")
    assert "push a first commit" in said(shop.forge(), "wrong")
    with pytest.raises(ConnectorError, match="no branch"):
        snapshot(shop.forge(), "main", "README.md")
    assert pushes(server) == []
