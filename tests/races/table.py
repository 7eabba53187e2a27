"""What others do while an action is on its way, and what comes of it: the table that tests and page are held to.

Each cell begins with the outcome that the test of its row has to see, `-` where there is no such moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.races.stage import MOMENTS, Moment

NEVER = "-"


@dataclass(frozen=True, slots=True)
class Row:
    """One interleaving: the deed, the systems, what comes of it at each moment, and the test that proves it."""

    deed: str
    where: str
    review: str
    execution: str
    answer: str
    test: str
    site: str = ""

    def at(self, moment: Moment) -> str:
        """Return the outcome at a moment."""
        return {MOMENTS[0]: self.review, MOMENTS[1]: self.execution, MOMENTS[2]: self.answer}[moment].split(":")[0]

    def cells(self) -> tuple[str, ...]:
        """Return the row as the page shows it."""
        return self.deed, self.where, self.review, self.execution, self.answer, f"`{self.test}`"


HUB, KUBE, FOLDERS, ISSUES, FOLDER = "GitHub", "Kubernetes", "release folders", "GitHub Issues", "ticket folder"
STALE, DONE = "stale", "succeeded"
THREE = (STALE, STALE, STALE)
FINE = (DONE, DONE, DONE)

ROWS: tuple[Row, ...] = (
    # merging
    Row("the head branch moves", HUB, *THREE, "test_a_head_that_moves_is_never_merged"),
    Row(
        "the head branch moves once it is merged",
        HUB,
        NEVER,
        NEVER,
        "succeeded: the later commit is not in it",
        "test_a_head_that_moves_after_the_merge_is_not_part_of_it",
    ),
    Row("the base moves, other files", HUB, *FINE, "test_a_base_that_moves_elsewhere_voids_nothing"),
    Row(
        "the base moves, a touched file",
        HUB,
        *THREE,
        "test_a_base_that_moves_in_a_touched_file_voids_the_review",
    ),
    Row(
        "the base moves, other lines of a touched file, and GitHub blends the two",
        HUB,
        NEVER,
        NEVER,
        "unknown: it is read back, and told as not what was reviewed",
        "test_a_blend_that_nobody_saw_is_never_called_a_success",
    ),
    Row(
        "the request is sent to another base",
        HUB,
        STALE,
        STALE,
        NEVER,
        "test_a_request_that_goes_elsewhere_is_not_merged",
    ),
    Row(
        "the request is sent to another base",
        HUB,
        NEVER,
        NEVER,
        "failed: with an effect, and the base it went into is named",
        "test_a_request_that_goes_elsewhere_on_the_way_is_told_as_a_failure_with_an_effect",
    ),
    Row(
        "head or base is forced to another commit and back",
        HUB,
        *FINE,
        "test_a_branch_that_is_forced_away_and_back_is_what_was_reviewed",
    ),
    Row("a check turns red", HUB, STALE, STALE, NEVER, "test_checks_that_turn_red_void_the_review"),
    Row(
        "a check turns red, an approval is withdrawn",
        HUB,
        NEVER,
        NEVER,
        "succeeded: too late, unless the branch is protected there",
        "test_what_turns_against_a_merge_on_the_way_is_too_late",
    ),
    Row(
        "an approval is withdrawn on the forge",
        HUB,
        STALE,
        STALE,
        NEVER,
        "test_an_approval_that_is_withdrawn_on_the_forge_voids_the_review",
    ),
    Row("somebody else merges it", HUB, *THREE, "test_somebody_else_who_merges_first_did_it"),
    Row(
        "another home merges it",
        HUB,
        NEVER,
        NEVER,
        STALE,
        "test_two_homes_that_merge_one_request_merge_it_once",
    ),
    Row(
        "two reviewed merges of it, in two processes",
        HUB,
        NEVER,
        "one succeeded, one stale",
        NEVER,
        "test_two_merges_of_one_request_in_two_processes_merge_it_once",
    ),
    Row(
        "another repository takes the name",
        HUB,
        "stale or failed: nothing is done",
        "stale or failed: nothing is done",
        "stale or failed: nothing is done",
        "test_another_repository_that_takes_the_name_gets_nothing",
    ),
    # reverting
    Row(
        "a file of a merge that is to be reverted changes",
        HUB,
        STALE,
        STALE,
        "succeeded: a pull request, whose merge shows the conflict",
        "test_a_revert_puts_nothing_over_what_changed_since",
    ),
    Row(
        "it changed before the revert is asked for",
        HUB,
        "refused while it is planned",
        NEVER,
        NEVER,
        "test_a_revert_of_a_merge_whose_files_changed_since_is_not_even_planned",
    ),
    # opening and following up
    Row(
        "the base of an opening moves, other files",
        "git, git-remote, GitHub",
        *FINE,
        "test_a_base_that_moves_elsewhere_does_not_void_an_opening",
    ),
    Row(
        "the base of an opening moves, a touched file",
        "git",
        *THREE,
        "test_a_base_that_moves_in_a_touched_file_voids_an_opening",
        "git",
    ),
    Row(
        "the base of an opening moves, a touched file",
        "git-remote, GitHub",
        STALE,
        STALE,
        "succeeded: the reviewed commit on the reviewed base; it lands nowhere yet",
        "test_a_base_that_moves_in_a_touched_file_voids_an_opening",
    ),
    Row(
        "the base of an opening is forced to another commit and back",
        "git, git-remote, GitHub",
        *FINE,
        "test_a_base_that_is_forced_away_and_back_is_what_was_reviewed",
    ),
    Row(
        "our branch moves before another commit of ours",
        "git, git-remote, GitHub",
        *THREE,
        "test_a_branch_that_moves_takes_no_more_commits_of_ours",
    ),
    Row(
        "our branch moves before it is closed",
        "git, git-remote, GitHub",
        *THREE,
        "test_a_branch_that_moves_is_not_thrown_away",
    ),
    # tickets
    Row(
        "the status is set by somebody else",
        f"{FOLDER}, {ISSUES}",
        STALE,
        STALE,
        NEVER,
        "test_a_status_that_others_set_first_is_left_alone",
    ),
    Row(
        "the status is set by somebody else, before our comment arrives",
        ISSUES,
        NEVER,
        NEVER,
        "failed: with an effect, the comment alone",
        "test_a_status_that_others_set_before_our_comment_arrives_is_left_alone",
    ),
    Row(
        "the status is set by somebody else, after our comment",
        ISSUES,
        NEVER,
        NEVER,
        "succeeded: theirs is set over",
        "test_a_status_that_others_set_on_the_way_is_set_over_and_that_is_what_was_reviewed",
    ),
    Row("somebody comments", FOLDER, DONE, DONE, NEVER, "test_a_comment_of_somebody_else_voids_nothing", "folder"),
    Row("somebody comments", ISSUES, *FINE, "test_a_comment_of_somebody_else_voids_nothing"),
    Row(
        "another home sets the status",
        ISSUES,
        NEVER,
        STALE,
        NEVER,
        "test_two_homes_that_set_one_status_set_it_once",
    ),
    Row(
        "two reviewed changes of it, in two processes",
        f"{FOLDER}, {ISSUES}",
        NEVER,
        "one succeeded, one stale",
        NEVER,
        "test_two_changes_of_one_ticket_in_two_processes_change_it_once",
    ),
    Row(
        "another repository takes the name, its issue the number",
        ISSUES,
        STALE,
        STALE,
        NEVER,
        "test_an_issue_of_another_repository_that_took_the_name_is_left_alone",
    ),
    # deployments
    Row("something else is released", KUBE, *THREE, "test_a_release_of_others_voids_the_rollback"),
    Row(
        "something else is released, and the first again",
        KUBE,
        *THREE,
        "test_a_release_and_back_is_not_what_was_reviewed",
    ),
    Row("it is scaled", KUBE, *FINE, "test_a_scaling_of_others_voids_nothing"),
    Row("it is paused", KUBE, *THREE, "test_a_deployment_that_is_paused_is_left_alone"),
    Row(
        "its strategy changes",
        KUBE,
        *THREE,
        "test_a_deployment_that_rolls_out_otherwise_now_is_left_alone",
    ),
    Row("it is deleted and made anew", KUBE, *THREE, "test_a_deployment_that_is_made_anew_is_another_one"),
    Row(
        "another home rolls it back",
        KUBE,
        NEVER,
        NEVER,
        STALE,
        "test_two_homes_that_roll_one_deployment_back_do_it_once",
    ),
    Row(
        "two reviewed rollbacks of it, in two processes",
        KUBE,
        NEVER,
        "one succeeded, one stale",
        NEVER,
        "test_two_rollbacks_of_one_deployment_in_two_processes_roll_it_back_once",
    ),
    Row(
        "another version is switched to",
        FOLDERS,
        STALE,
        STALE,
        NEVER,
        "test_a_folder_that_runs_another_version_now_is_left_alone",
    ),
    Row(
        "the version to go back to holds something else",
        FOLDERS,
        STALE,
        STALE,
        NEVER,
        "test_a_version_that_holds_something_else_now_is_not_put_back",
    ),
)

HEAD = ("others do this", "on", *(str(moment) for moment in MOMENTS), "test")


def row_of(test: str, site: str) -> Row:
    """Return the row that a test is held to: the one for its system, if there is one of its own."""
    fitting = [row for row in ROWS if row.test == test and row.site in ("", site)]
    assert fitting, f"{test} has no row in the table of races"
    return max(fitting, key=lambda row: row.site != "")


def rendered() -> Iterator[str]:
    """Yield the lines of the page's table."""
    yield f"| {' | '.join(HEAD)} |"
    yield f"|{' --- |' * len(HEAD)}"
    for row in ROWS:
        yield f"| {' | '.join(row.cells())} |"
