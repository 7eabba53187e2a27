"""Writes a run of cases as JUnit XML, the form that build servers read."""

from __future__ import annotations

import re
from itertools import groupby
from xml.etree.ElementTree import Element, SubElement, tostring

from keyturn.policy.cases.case import Case
from keyturn.policy.cases.running import CaseResult, TestRun

_NEVER = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(run: TestRun, policy: str) -> str:
    """Return the run as one document: a suite per file, a test case per case. `policy` is the policy's digest.

    What no case reached stands as `system-out` of the whole, since no build server counts it.
    """
    failed = len(run.failures)
    root = Element("testsuites", name="keyturn policy test", tests=str(len(run.results)), failures=str(failed))
    for file, results in groupby(run.results, key=lambda result: result.case.file):
        _suite(root, file, list(results), policy)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _suite(root: Element, file: str, results: list[CaseResult], policy: str) -> None:
    failed = sum(bool(result.wrong) for result in results)
    suite = SubElement(
        root, "testsuite", name=file, tests=str(len(results)), failures=str(failed), errors="0", skipped="0"
    )
    SubElement(SubElement(suite, "properties"), "property", name="policy", value=policy)
    for result in results:
        _case(suite, result.case, result)


def _case(suite: Element, case: Case, result: CaseResult) -> None:
    # Names hold no character that XML could not: reading a policy refuses control characters.
    element = SubElement(suite, "testcase", name=case.name, classname=case.file, file=case.file, time="0")
    if result.wrong:
        failure = SubElement(element, "failure", message=_clean(result.wrong[0]), type=f"expected-{case.expect}")
        failure.text = _clean("\n".join((case.place, *result.wrong)))


def _clean(text: str) -> str:
    """Replace what XML 1.0 (section 2.2) allows nowhere: a reason may quote a value of the case."""
    return _NEVER.sub("\ufffd", text)
