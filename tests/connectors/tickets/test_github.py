from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import ValidationError

from keyturn.connectors.checking import Finding
from keyturn.connectors.github.mentions import mentions
from keyturn.connectors.tickets import Preview, TicketChange
from keyturn.connectors.tickets.github import TEXT, Settings, _text
from keyturn.connectors.tickets.github.issues import Comment, comment_in, issue_in
from keyturn.connectors.tickets.github.reach import moved_facts, tolerated
from keyturn.connectors.tickets.github.wording import check_issue, check_words
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Failed, Happened, Stale, Succeeded, Unknown
from keyturn.tools.arguments.create_ticket import Arguments as CreateArguments
from keyturn.tools.arguments.update_ticket import Arguments as UpdateArguments
from keyturn.tools.create_ticket import CreateTicket
from keyturn.tools.update_ticket import UpdateTicket
from tests.bed.faults import Fault, Instead, Meanwhile, refusal
from tests.bed.forge import Forge
from tests.bed.recorder import Answer, answer
from tests.connectors.deployments.processes import action
from tests.connectors.tickets.contract import TicketsContract, draft, preview
from tests.connectors.tickets.issues import IssuesWorld, open_issues
from tests.docs.pages import ROOT, Page

ONE = action(1)
TAG = f"<!-- keyturn/{ONE.action} -->"


@pytest.fixture
def world(tmp_path: Path, github: Forge) -> IssuesWorld:
    return IssuesWorld(tmp_path, github)


@pytest.fixture
def app(tmp_path: Path, github: Forge) -> IssuesWorld:
    return IssuesWorld(tmp_path, github, None)


class TestGitHubIssues(TicketsContract):
    """The port's promises, kept by GitHub as `emulate` plays it."""


def on(world: IssuesWorld, method: str, path: str, deed: Any, nth: int = 0) -> None:
    """Plan a fault for requests below the repository."""
    world.forge.faults.set(Fault(method, f"/repos/{world.repository.full_name}{path}", deed, nth))


def apply(world: IssuesWorld, change: TicketChange) -> object:
    outcome: object = anyio.run(world.port.apply, change, ONE)
    return outcome


def test_an_app_changes_makes_and_finds_again_as_a_person_does(app: IssuesWorld) -> None:
    change, ticket = preview(app, "closed", "Bye.").change, draft(app).ticket
    first = apply(app, change)
    assert isinstance(first, Succeeded)
    assert apply(app, change) == first
    assert anyio.run(app.port.probe, change, ONE) == Happened(first.result)
    made = anyio.run(app.port.create, ticket, action(2))
    assert isinstance(made, Succeeded)
    assert anyio.run(app.port.probe_creation, ticket, action(2)) == Happened(made.result)
    assert (app.comments_of(ONE), app.closings(), len(app.tickets())) == (1, 1, 2)
    assert app.port.backend().account == f"app {app.forge.emulator.app_id}"


def test_an_app_asks_for_a_token_that_may_write_issues_of_the_one_repository_and_nothing_else(
    app: IssuesWorld,
) -> None:
    preview(app, "closed")
    [asked] = app.forge.seen.of("POST", r"/app/installations/\d+/access_tokens")
    assert asked.json() == {
        "repositories": [app.repository.name],
        "permissions": {"issues": "write", "metadata": "read"},
    }


def test_the_identity_is_the_address_of_the_repository(world: IssuesWorld) -> None:
    backend = world.port.backend()
    assert (backend.port, backend.name, backend.kind, backend.account) == ("tickets", "ops", "github", "")
    assert backend.location == f"{world.forge.url}/repos/{world.repository.full_name}"
    assert world.forge.emulator.tokens["carol"] not in repr(world.port)


def test_what_is_posted_and_what_was_shown_are_the_same(world: IssuesWorld) -> None:
    seen = preview(world, "closed", "Bye.\n\nSee you.\n")
    assert seen.diff.startswith(f"diff --git a/issues/{world.ticket} b/issues/{world.ticket}\n")
    assert " title: Checkout is slow\n-status: open\n+status: closed\n" in seen.diff
    assert (seen.added, seen.removed) == (11, 1)
    apply(world, seen.change)
    [posted] = world.repository.comments(world.number)
    assert posted == (
        f"Written by claude through Keyturn, action {ONE.action}. {TAG}\n\n"
        "Sets the status from open to closed.\n\nBye.\n\nSee you."
    )
    for line in posted.replace(ONE.action, "<action>").replace("claude", "<principal>").split("\n"):
        assert f"+{line}\n" in seen.diff


def test_a_status_alone_says_so_in_a_comment(world: IssuesWorld) -> None:
    apply(world, preview(world, "not planned").change)
    [posted] = world.repository.comments(world.number)
    assert posted.endswith(f"{TAG}\n\nSets the status from open to not planned.")
    issue = world.repository.read_issue(world.number)
    assert (issue["state"], issue["state_reason"]) == ("closed", "not_planned")


def test_facts_are_what_the_change_depends_on(world: IssuesWorld) -> None:
    both = preview(world, "closed", "Bye.")
    assert both.change.facts == {
        "ticket": world.ticket,
        "issue": world.repository.read_issue(world.number)["id"],
        "recipients": 2,
        "unlocked": True,
        "status": "open",
        "exists": True,
    }
    assert both.guard == {"updated_at": world.repository.read_issue(world.number)["updated_at"]}


def test_a_pull_request_is_no_ticket(world: IssuesWorld) -> None:
    world.repository.branch("work")
    world.repository.push("work", {"a.txt": b"a"})
    number = str(world.repository.open_pull("work"))
    assert not anyio.run(world.port.holds, number)
    issue = {**world.repository.read_issue(world.number), "number": int(number), "pull_request": {"url": "x"}}
    on(world, "GET", f"/issues/{number}", Instead(answer(200, issue)))
    assert not anyio.run(world.port.holds, number)
    with pytest.raises(ConnectorError, match=f'"{number}" is not in ops: it is a pull request, not an issue'):
        anyio.run(world.port.snapshot, number)


@pytest.mark.parametrize("ticket", ["0", "01", "-1", "1/comments", "1?x", "", "OPS-1", "12345678901", "\u0661"])
def test_what_is_no_number_is_neither_held_nor_asked_for(world: IssuesWorld, ticket: str) -> None:
    world.forge.seen.forget()
    assert not anyio.run(world.port.holds, ticket)
    with pytest.raises(ConnectorError, match="is not the number of an issue"):
        anyio.run(world.port.snapshot, ticket)
    assert world.forge.seen.exchanges == []


def test_an_answer_about_another_issue_is_not_believed(world: IssuesWorld) -> None:
    on(world, "GET", r"/issues/\d+", Instead(answer(200, {**world.repository.read_issue(1), "number": 7})))
    with pytest.raises(ConnectorError, match="answered with issue 7 when 1 was asked for"):
        anyio.run(world.port.snapshot, "1")


def test_a_tag_that_somebody_else_pasted_proves_nothing(world: IssuesWorld) -> None:
    change = preview(world, comment="Hello.").change
    world.comment(f"Look: {TAG}")
    assert isinstance(anyio.run(world.port.probe, change, ONE), CannotTell)
    assert isinstance(apply(world, change), Succeeded)
    assert world.comments_of(ONE) == 2


def test_a_tag_that_we_pasted_ourselves_is_not_taken_for_a_copy(world: IssuesWorld) -> None:
    change = preview(world, comment="Hello.").change
    first = apply(world, change)
    world.repository.comment(world.number, f"As I said in {TAG}", who="carol")
    assert apply(world, change) == first
    assert world.comments_of(ONE) == 2


def test_a_status_that_never_gets_through_stays_unknown_until_it_does(world: IssuesWorld) -> None:
    change = preview(world, "closed", "Bye.").change
    on(world, "PATCH", r"/issues/\d+", Instead(refusal(500)))
    assert isinstance(apply(world, change), Unknown)
    assert isinstance(anyio.run(world.port.probe, change, ONE), CannotTell)
    world.forge.faults.set()
    assert isinstance(anyio.run(world.port.probe, change, ONE), Happened)
    assert (world.comments_of(ONE), world.closings()) == (1, 1)


def test_a_tag_in_somebody_elses_issue_proves_nothing(world: IssuesWorld) -> None:
    ticket = draft(world).ticket
    theirs = world.repository.issue("Mine", f"Look: {TAG}")
    told = anyio.run(world.port.probe_creation, ticket, ONE)
    assert isinstance(told, CannotTell)
    assert "look for 'Search is slow' there" in told.reason
    made = anyio.run(world.port.create, ticket, ONE)
    assert isinstance(made, Succeeded)
    assert made.result["ticket"] != str(theirs)
    assert str(made.result["url"]).endswith(f"/issues/{made.result['ticket']}")


def test_a_locked_conversation_is_refused_and_one_locked_after_the_review_is_stale(world: IssuesWorld) -> None:
    change = preview(world, comment="Hello.").change
    world.repository.ask("PUT", f"issues/{world.number}/lock", {"lock_reason": "resolved"})
    assert apply(world, change) == Stale(("unlocked",))
    with pytest.raises(ConnectorError, match="is locked; somebody unlocks it first"):
        preview(world, comment="Hello.")


def test_a_reason_of_a_closed_issue_cannot_be_changed(world: IssuesWorld) -> None:
    world.set_status("closed")
    with pytest.raises(ConnectorError, match="keeps the reason for which 1 was closed; set it to open first"):
        preview(world, "not planned")


def test_a_status_that_only_people_set_can_be_left_and_not_set_back(world: IssuesWorld) -> None:
    issue = {**world.repository.read_issue(world.number), "state": "closed", "state_reason": "duplicate"}
    on(world, "GET", r"/issues/\d+", Instead(answer(200, issue)))
    change = preview(world, "open", "Again.").change
    assert change.facts["status"] == "duplicate"
    inverse = world.port.inverse(change)
    assert inverse.tool is None
    assert inverse.summary.startswith("Its status was 'duplicate', which cannot be set from here. The comment stays")


def reviewed_by(world: IssuesWorld, recipients: int) -> TicketChange:
    change = preview(world, comment="Hello.").change
    return replace(change, facts={**change.facts, "recipients": recipients})


def test_a_few_more_recipients_than_reviewed_void_nothing_and_many_do(world: IssuesWorld) -> None:
    asked: list[Preview] = []

    def objection(seen: Preview) -> str:
        asked.append(seen)
        return "enough"

    people = [{"login": f"person-{number}"} for number in range(6)]
    on(world, "GET", "/subscribers", Instead(answer(200, people)))
    assert preview(world, comment="Hello.").recipients == 8
    change = reviewed_by(world, 5)
    assert anyio.run(world.port.apply, change, ONE, objection) == Failed("enough")
    assert [(seen.recipients, seen.change) for seen in asked] == [(5, change)]
    assert apply(world, reviewed_by(world, 4)) == Stale(("recipients",))
    assert isinstance(apply(world, reviewed_by(world, 50)), Succeeded)


def test_plans_of_the_tools_are_carried_out_although_a_few_more_people_came_and_others_wrote(
    world: IssuesWorld,
) -> None:
    def nothing_earlier(action_id: str) -> None:
        del action_id

    trackers = {"ops": world.port}
    update = UpdateTicket(trackers)
    asked = UpdateArguments.model_validate({"ticket": world.ticket, "status": "closed", "comment": "Bye."})
    changing = anyio.run(update.plan, asked, nothing_earlier)
    create = CreateTicket(trackers)
    wished = CreateArguments.model_validate({"title": "Search is slow", "body": "Ten.", "labels": ["shop"]})
    making = anyio.run(create.plan, wished, nothing_earlier)
    world.comment("Me too.")
    world.repository.edit_issue(world.number, title="Checkout is very slow")
    on(world, "GET", "/subscribers", Instead(answer(200, [{"login": "dan"}, {"login": "eve"}])))
    forged = replace(changing, diff=changing.diff.replace("+Bye.", "+Hello."))
    assert isinstance(anyio.run(update.execute, forged, action(3)), Failed)
    assert isinstance(anyio.run(update.execute, changing, ONE), Succeeded)
    assert isinstance(anyio.run(update.probe, changing, ONE), Happened)
    assert isinstance(anyio.run(create.execute, making, action(2)), Succeeded)


def test_how_many_more_are_fine_grows_with_how_many_there_are() -> None:
    assert [tolerated(number) for number in (0, 10, 40, 1000)] == [3, 13, 44, 1100]
    assert moved_facts({"recipients": 4, "status": "open"}, {"recipients": 1, "status": "open"}) == ()
    assert moved_facts({"recipients": 5}, {"recipients": 1}) == ("recipients",)
    assert moved_facts({"recipients": 0, "status": "x"}, {"status": "open"}) == ("recipients", "status")


def test_recipients_are_counted_once_and_we_are_not(world: IssuesWorld) -> None:
    world.repository.comment(world.number, "Me too.", who="ada")
    world.repository.comment(world.number, "Looking.", who="carol")
    on(world, "GET", "/subscribers", Instead(answer(200, [{"login": "Ada"}, {"login": "carol"}, {"login": "dan"}])))
    assert anyio.run(world.port.snapshot, world.ticket).watchers == ("ada", "bob", "dan")
    assert preview(world, comment="Hi @Dan, @eve and @carol.").recipients == 4
    assert anyio.run(world.port.draft, "t", "Hi @eve.", []).recipients == 3


def test_very_many_watchers_are_counted_by_pages(world: IssuesWorld) -> None:
    link = f'<{world.forge.url}/repos/x/y/subscribers?per_page=100&page=2>; rel="next", '
    link += f'<{world.forge.url}/repos/x/y/subscribers?per_page=100&page=51>; rel="last"'
    on(world, "GET", "/subscribers", Instead(answer(200, [{"login": "dan"}], link=link)))
    assert preview(world, comment="Hello.").recipients == 5102


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Hello @ann and @Bob-2, and @ann again", ("ann", "bob-2")),
        ("write to me@example.org", ()),
        ("(@ann) /@bob .@cat", ("ann", "bob", "cat")),
        ("@-x a@ @", ()),
        ("_@ann_ __@bob__ &#64;cat &commat;dan &#x40;eve", ("ann", "bob", "cat", "dan", "eve")),
    ],
)
def test_mentions_are_found_as_github_finds_them(text: str, found: tuple[str, ...]) -> None:
    assert mentions(text) == found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ok\nsee @shop-co/everybody", "line 2 of the .* mentions the team @shop-co/everybody"),
        ("see _@shop-co/everybody_", "line 1 of the .* mentions the team @shop-co/everybody"),
        ("see &#64;shop-co/everybody", "line 1 of the .* mentions the team @shop-co/everybody"),
        ("Duplicate of #3", "line 1 of the .* begins with the words that mark an issue as a duplicate"),
        ("> *duplicate  of* x", "mark an issue as a duplicate"),
    ],
)
def test_words_that_do_something_on_github_are_refused(text: str, problem: str) -> None:
    with pytest.raises(ConnectorError, match=problem):
        check_words(text)
    with pytest.raises(ConnectorError, match=problem):
        check_issue("t", text, ())


def test_a_status_that_somebody_sets_between_our_comment_and_our_status_is_left_alone(world: IssuesWorld) -> None:
    change = preview(world, "closed", "Bye.").change
    on(world, "POST", r"/issues/\d+/comments", Meanwhile(lambda: world.set_status("not planned")))
    outcome = apply(world, change)
    assert isinstance(outcome, Failed)
    assert outcome.effect
    assert outcome.reason.startswith("the comment is there, but somebody set the status to not planned")
    assert outcome.result["status"] == "not planned"
    assert anyio.run(world.port.probe, change, ONE) == Happened(outcome.result, outcome.reason)
    assert world.comments_of(ONE) == 1


def test_a_status_that_somebody_changes_at_once_after_us_was_set_all_the_same(world: IssuesWorld) -> None:
    change = preview(world, "closed", "Bye.").change
    on(world, "PATCH", r"/issues/\d+", Meanwhile(lambda: world.set_status("open"), after=True))
    outcome = apply(world, change)
    assert isinstance(outcome, Succeeded)
    assert outcome.result["status"] == "closed"
    world.forge.faults.set()
    assert anyio.run(world.port.probe, change, ONE) == Happened(outcome.result)
    assert (world.closings(), world.repository.read_issue(world.number)["state"]) == (1, "open")


def test_a_status_that_moves_while_people_are_counted_is_stale_and_nothing_is_posted(world: IssuesWorld) -> None:
    change = preview(world, "closed", "Bye.").change
    on(world, "GET", "/subscribers", Meanwhile(lambda: world.set_status("closed")))
    assert apply(world, change) == Stale(("status",))
    assert world.comments_of(ONE) == 0


GONE: list[tuple[Answer, Answer | None, type[object]]] = [
    (refusal(404), None, CannotHappen),
    (refusal(410), None, CannotHappen),
    (refusal(404), refusal(404), CannotTell),
    (refusal(410), refusal(410), CannotTell),
    (answer(301, location="/repositories/7/issues/1"), None, CannotTell),
]


@pytest.mark.parametrize(("gone", "listing", "told"), GONE)
def test_an_issue_that_is_gone_settles_an_action_only_where_its_absence_can_be_seen(
    world: IssuesWorld, gone: Answer, listing: Answer | None, told: type[object]
) -> None:
    change, root = preview(world, comment="Hello.").change, f"/repos/{world.repository.full_name}/issues"
    faults = [Fault("GET", rf"{root}/\d+", Instead(gone), 0)]
    if listing is not None:
        faults.append(Fault("GET", root, Instead(listing), 0))
    world.forge.faults.set(*faults)
    assert apply(world, change) == Stale(("ticket",))
    assert isinstance(anyio.run(world.port.probe, change, ONE), told)


def test_an_issue_that_vanishes_right_before_the_comment_is_stale(world: IssuesWorld) -> None:
    change = preview(world, comment="Hello.").change
    on(world, "GET", r"/issues/\d+", Instead(refusal(404)), 2)
    assert apply(world, change) == Stale(("ticket",))
    assert world.comments_of(ONE) == 0


def test_an_issue_that_vanishes_after_the_comment_leaves_it_unknown(world: IssuesWorld) -> None:
    change = preview(world, comment="Hello.").change
    on(world, "GET", r"/issues/\d+", Instead(refusal(404)), 3)
    outcome = apply(world, change)
    assert getattr(outcome, "reason", "").startswith("the comment is there, then: issue 1 of ")


def test_another_repository_than_the_reviewed_one_is_never_touched(world: IssuesWorld, github: Forge) -> None:
    location = world.port.backend().location
    change = replace(preview(world, comment="Hello.").change, location=location)
    ticket = replace(draft(world).ticket, location=location)
    other = open_issues(world.home, github, github.repository().full_name)
    github.seen.forget()
    calls: list[tuple[Any, Any]] = [(other.apply, change), (other.create, ticket)]
    for call, what in calls:
        with pytest.raises(ConnectorError, match="another repository now") as refused:
            anyio.run(call, what, ONE)
        assert refused.value.kind == "conflict"
    assert isinstance(anyio.run(other.probe, change, ONE), CannotTell)
    assert isinstance(anyio.run(other.probe_creation, ticket, ONE), CannotTell)
    assert github.seen.exchanges == []
    assert isinstance(apply(world, change), Succeeded)


def test_labels_that_are_dropped_without_a_word_make_it_a_failure_with_an_effect(world: IssuesWorld) -> None:
    def drop() -> None:
        world.repository.edit_issue(int(world.tickets()[-1]), labels=[])

    ticket = draft(world).ticket
    on(world, "POST", "/issues", Meanwhile(drop, after=True))
    outcome = anyio.run(world.port.create, ticket, ONE)
    assert isinstance(outcome, Failed)
    assert outcome.effect
    assert outcome.reason == "2 was made, but not with the labels shop: this account may not set them"
    assert anyio.run(world.port.probe_creation, ticket, ONE) == Happened(outcome.result, outcome.reason)


def test_a_label_that_is_not_there_is_refused_and_not_made(world: IssuesWorld) -> None:
    with pytest.raises(ConnectorError, match="has no label 'new one'; make it there first"):
        draft(world, labels=["shop", "new one"])


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({"archived": True}, "is archived"),
        ({"has_issues": False}, "issues are switched off"),
        ({"full_name": "shop-co/moved"}, "has another name now: shop-co/moved"),
    ],
)
def test_a_repository_that_takes_no_issues_is_refused(
    world: IssuesWorld, state: dict[str, object], problem: str
) -> None:
    on(world, "GET", "", Instead(answer(200, {**world.repository.ask("GET"), **state})))
    with pytest.raises(ConnectorError, match=problem):
        draft(world)


def test_more_people_than_reviewed_make_a_new_issue_stale(world: IssuesWorld) -> None:
    ticket = draft(world).ticket
    on(world, "GET", "/subscribers", Instead(answer(200, [{"login": f"person-{number}"} for number in range(9)])))
    assert anyio.run(world.port.create, ticket, ONE) == Stale(("recipients",))


def test_among_too_many_new_issues_nothing_is_claimed_and_nothing_is_made(world: IssuesWorld) -> None:
    ticket = draft(world).ticket
    one = {**world.repository.read_issue(world.number), "created_at": "2099-01-01T00:00:00Z"}
    on(world, "GET", "/issues", Instead(answer(200, [one] * 100)))
    with pytest.raises(ConnectorError, match="more than 1000 issues were made since"):
        anyio.run(world.port.create, ticket, ONE)
    assert isinstance(anyio.run(world.port.probe_creation, ticket, ONE), CannotTell)
    assert world.tickets() == [world.ticket]


def test_older_issues_are_not_looked_through(world: IssuesWorld) -> None:
    ticket = draft(world).ticket
    old = {**world.repository.read_issue(world.number), "created_at": "2020-01-01T00:00:00Z"}
    on(world, "GET", "/issues", Instead(answer(200, [old] * 100)))
    world.forge.seen.forget()
    assert isinstance(anyio.run(world.port.probe_creation, ticket, ONE), CannotTell)
    assert len(world.forge.seen.of("GET", r".*/issues")) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (r"/issues/\d+", [1]),
        (r"/issues/\d+", {"number": 1, "title": None}),
        (r"/issues/\d+/comments", [{"id": "x"}]),
        (r"/issues", {"no": "list"}),
        (r"/issues", [1]),
        (r"", [1]),
    ],
)
def test_answers_of_another_form_are_refused(world: IssuesWorld, path: str, body: object) -> None:
    change, ticket = preview(world, comment="Hello.").change, draft(world).ticket
    on(world, "GET", path, Instead(answer(200, body)))
    with pytest.raises(ConnectorError, match="cannot be read"):
        apply(world, change) if path.startswith(r"/issues/") else anyio.run(world.port.create, ticket, ONE)


def test_accounts_that_were_deleted_and_texts_that_are_missing_can_be_read() -> None:
    told = {
        "id": 9,
        "number": 1,
        "title": "t",
        "state": "open",
        "updated_at": "u",
        "created_at": "c",
        "labels": ["a"],
    }
    issue = issue_in({**told, "user": None, "body": None, "assignees": None})
    assert (issue.author, issue.body, issue.labels, issue.assignees, issue.url) == ("", "", ("a",), (), "")
    assert comment_in({"id": 1, "body": "b", "created_at": "c", "user": None}).author == ""


@pytest.mark.parametrize("odd", [{"body": ["b"]}, {"title": None}, {"state": "merged"}, {"id": "9"}])
def test_an_issue_that_is_described_otherwise_is_refused(odd: dict[str, Any]) -> None:
    told = {"id": 9, "number": 1, "title": "t", "state": "open", "updated_at": "u", "created_at": "c"}
    with pytest.raises(ConnectorError, match="describes an issue in a way that cannot be read"):
        issue_in({**told, **odd})


def said(number: int, text: str) -> Comment:
    return Comment(id=number, author="ada", body=text, created_at="2026-11-21T09:00:00Z")


def test_of_a_long_issue_the_beginning_and_the_newest_comments_are_told() -> None:
    told = {"id": 9, "number": 1, "title": "t", "state": "open", "updated_at": "u", "created_at": "c"}
    issue = issue_in({**told, "body": "x" * 30_000})
    comments = [said(number, f"comment {number} " + "y" * 1_500) for number in range(20)]
    text = _text(issue, comments)
    assert len(text) < TEXT + 200
    assert "… (22001 characters left out)" in text
    assert "earlier comments left out)" in text
    assert "comment 19 " in text
    assert "comment 1 " not in text
    assert len(_text(issue, [])) < TEXT + 100
    assert "z" * 40_000 in _text(issue, [said(1, "old"), said(2, "z" * 40_000)])
    assert _text(issue_in({**told, "body": "short"}), []) == "short\n"


def levels(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(finding.level, finding.text) for finding in findings]


def wrong(findings: tuple[Finding, ...]) -> Finding:
    [found] = [finding for finding in findings if finding.level == "wrong"]
    return found


def test_a_check_says_who_we_are_and_what_we_may(world: IssuesWorld, app: IssuesWorld) -> None:
    host = world.forge.url.removeprefix("http://")
    name = world.repository.full_name
    assert levels(anyio.run(world.port.check)) == [
        ("ok", f"{host}: we are carol"),
        ("ok", f"{name}: issues are switched on"),
        ("note", "the account may write; GitHub does not tell whether a fine-grained token of it may"),
        ("note", f"who watches {name} cannot be seen (404): recipients are counted too low"),
    ]
    found = levels(anyio.run(app.port.check))
    assert (found[0], found[1]) == (
        ("ok", f"{host}: we are keyturn-bed[bot]"),
        ("ok", "the App's installation may write issues"),
    )


CHECKS: dict[str, tuple[Callable[[IssuesWorld], None], str, str]] = {
    "archived": (
        lambda w: on(w, "GET", "", Instead(answer(200, {**w.repository.ask("GET"), "archived": True}))),
        "is archived",
        "unarchive it",
    ),
    "issues off": (
        lambda w: on(w, "GET", "", Instead(answer(200, {**w.repository.ask("GET"), "has_issues": False}))),
        "issues are switched off",
        "switch them on",
    ),
    "renamed": (
        lambda w: on(w, "GET", "", Instead(answer(301, location="/repositories/7"))),
        "has another name now",
        "look at url, repository",
    ),
    "not there": (
        lambda w: on(w, "GET", "", Instead(refusal(404))),
        "is not there, or this credential does not reach it",
        "look at url, repository",
    ),
    "not readable": (
        lambda w: on(w, "GET", "/issues", Instead(refusal(403))),
        "cannot be read (403)",
        "Issues: read and write",
    ),
}


@pytest.mark.parametrize("case", CHECKS)
def test_a_check_says_what_is_missing_and_what_to_do(world: IssuesWorld, case: str) -> None:
    arrange, text, advice = CHECKS[case]
    arrange(world)
    found = wrong(anyio.run(world.port.check))
    assert text in found.text
    assert advice in found.advice


def test_a_check_of_a_token_that_nobody_knows_says_so_and_shows_nothing_of_it(world: IssuesWorld) -> None:
    world.forge.manners.known.discard(world.forge.emulator.tokens["carol"])
    found = wrong(anyio.run(world.port.check))
    assert "answered 401: Bad credentials" in found.text
    assert found.advice.startswith("make a new token")
    assert world.forge.emulator.tokens["carol"] not in repr(found)


def test_a_check_of_an_account_that_may_only_read_says_so(world: IssuesWorld, github: Forge) -> None:
    port = open_issues(world.home, github, world.repository.full_name, "bob")
    found = wrong(anyio.run(port.check))
    assert found.text == f"this account may only read {world.repository.full_name}"
    assert "role Triage or Write" in found.advice


def test_a_check_of_an_app_whose_installation_lacks_the_permission_says_which(app: IssuesWorld) -> None:
    told = {"id": 7001, "permissions": {"metadata": "read", "issues": "read"}}
    on(app, "GET", "/installation", Instead(answer(200, told)))
    found = wrong(anyio.run(app.port.check))
    assert found.text == 'the App\'s installation was granted "issues": read'
    assert 'needs the permission "Issues: read and write"' in found.advice


def test_a_check_of_an_app_that_is_given_no_token_says_what_to_look_at(world: IssuesWorld, github: Forge) -> None:
    bed = github.emulator
    narrow = {"id": bed.narrow_app_id, "key": f"file:{bed.narrow_pem}", "installation": bed.narrow_installation}
    port = open_issues(world.home, github, world.repository.full_name, None, app=narrow)
    found = wrong(anyio.run(port.check))
    assert "/access_tokens: answered " in found.text
    assert found.advice.endswith("look at the App's settings and its installation")


def test_a_check_where_watchers_can_be_seen_has_nothing_to_add(world: IssuesWorld) -> None:
    on(world, "GET", "/subscribers", Instead(answer(200, [])))
    assert [level for level, _ in levels(anyio.run(world.port.check))] == ["ok", "ok", "note"]


def test_a_check_of_a_host_that_does_not_answer_says_so(tmp_path: Path, world: IssuesWorld, github: Forge) -> None:
    port = open_issues(tmp_path, github, world.repository.full_name, url="http://127.0.0.1:9", deadline=1)
    found = wrong(anyio.run(port.check))
    assert found.advice.startswith("look whether the url is right")


def test_a_check_where_nothing_is_said_about_rights_notes_it(world: IssuesWorld) -> None:
    told = {name: value for name, value in world.repository.ask("GET").items() if name != "permissions"}
    on(world, "GET", "", Instead(answer(200, told)))
    assert ("note", "GitHub does not say what this token may do") in levels(anyio.run(world.port.check))


def test_settings_name_a_repository() -> None:
    wrong_ones: list[dict[str, object]] = [
        {},
        {"repository": "shop"},
        {"repository": "a/b", "kind": "folder"},
        {"repository": "a/b", "x": 1},
    ]
    for more in wrong_ones:
        with pytest.raises(ValidationError):
            Settings.model_validate({"kind": "github", "credential": "env:T", **more})


def test_the_settings_that_the_page_shows_are_settings() -> None:
    page = Page(ROOT / "docs" / "how-to" / "use-github-issues.md")
    shown = [tomllib.loads(block.text) for block in page.blocks if block.language == "toml"]
    tables = [told["tickets"]["shop"] for told in shown if "tickets" in told]
    assert [Settings.model_validate(table).app is not None for table in tables] == [True, False]
