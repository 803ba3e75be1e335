"""The checks as JUnit XML: one test suite a budget, one test case a limit.

A missed limit is a failure of type ``missed``. One that cannot be told is a failure of type ``cannot-tell``:
CI systems have no third colour, and what is not shown to hold must not be green. Errors are never written:
when something cannot be read, there is no report at all.
"""

import re
import xml.etree.ElementTree as ET
from itertools import groupby

from fednas.toolchain.budgets.checking import BudgetReport, Check

_NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(report: BudgetReport) -> str:
    """The whole document."""
    failures = report.missed + report.cannot_tell
    root = ET.Element("testsuites", _counts(len(report.checks), failures) | {"name": "fednas-export check"})
    for name, group in groupby(report.checks, key=lambda check: check.budget):
        checks = list(group)
        failed = sum(check.verdict != "met" for check in checks)
        suite = ET.SubElement(root, "testsuite", {"name": _clean(name)} | _counts(len(checks), failed))
        for check in checks:
            _add_case(suite, check)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _counts(tests: int, failures: int) -> dict[str, str]:
    return {"tests": str(tests), "failures": str(failures), "errors": "0"}


def _add_case(suite: ET.Element, check: Check) -> None:
    # The name does not hold the reading, so that a CI system can follow one limit over time.
    name = f"{check.quantity} {check.limit_text}"
    case = ET.SubElement(suite, "testcase", {"classname": _clean(f"budgets.{check.budget}"), "name": _clean(name)})
    facts = f"{check.value_text} ({check.basis})" + (f", interval {check.interval_text}" * bool(check.interval_text))
    if check.verdict == "met":
        ET.SubElement(case, "system-out").text = _clean(facts)
        return
    message = {"message": _clean(f"{check.verdict}: {check.reason}"), "type": check.verdict.replace(" ", "-")}
    ET.SubElement(case, "failure", message).text = _clean(f"{name}: {facts}")


def _clean(text: str) -> str:
    return _NOT_IN_XML.sub("?", text)
