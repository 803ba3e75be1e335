"""The command ``verify``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fednas.common import ExitCode

if TYPE_CHECKING:
    from fednas.export import Manifest, VerificationReport


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A shipped device folder, or the folder of several.")],
    import_: Annotated[
        Path | None,
        typer.Option("--import", metavar="FILE", help="Fold in board_result.json, which board_check.py wrote."),
    ] = None,
) -> None:
    """Re-check a shipped folder against its manifest and test vectors; needs no torch.

    Checks sizes and hashes, the ONNX file, its metadata, and that ONNX Runtime gives the shipped logits. With
    --import, what the board found becomes part of the folder first: engines are judged on the logits they gave
    there, a latency budget on what was measured there. Of several folders it is the one that was carried to that
    board, and the index is written anew.

    Exit codes: 0 all is well; 4 a check failed; 5 the board made no engine of a model; 1 no folder of ours, a file
    is missing, or a result of another kit or GPU; with --import also 3 (the measured latency misses its budget) and 5
    (its interval straddles it).
    """
    from fednas.export import check_index, find_shipped_folders, verify_folder
    from fednas.toolchain.cli.output import emit, note, table

    folders = find_shipped_folders(folder)
    imported = None if import_ is None else _imported(folder, folders, import_)
    reports = [verify_folder(found) for found in folders]
    stale_index = None if folders == (folder,) else check_index(folder)
    rows = [
        (report.device, check.name, "ok" if check.passed else "FAILED", check.detail)
        for report in reports
        for check in report.checks
    ]
    if stale_index is not None:
        rows.append(("(all)", "index", "FAILED", stale_index))
    heads = ("Device", "Check", "Result", "Found")
    emit(_document(reports, stale_index, imported), f"{table(rows, heads)}\n\n{_verdict(reports, stale_index)}")
    for report in reports:
        for line in report.notes:
            note(line)
    code = _exit_code(_passed(reports, stale_index), reports, imported)
    if code is not ExitCode.OK:
        raise typer.Exit(code=int(code))


def _imported(folder: Path, folders: Sequence[Path], result_file: Path) -> "Manifest":
    """Fold a board's result into the one of ``folders`` that it is of, and into the index in ``folder``."""
    from fednas.export import folder_of_board_result, import_board_result, refresh_index, require_renewable_index

    target = folder_of_board_result(folders, result_file)
    if target == folder:
        return import_board_result(target, result_file)
    # Before anything is written: an index that stays behind would contradict the folder.
    require_renewable_index(folder)
    manifest = import_board_result(target, result_file)
    refresh_index(folder)
    return manifest


def _passed(reports: "Sequence[VerificationReport]", stale_index: str | None) -> bool:
    return all(report.passed for report in reports) and stale_index is None


def _document(
    reports: "Sequence[VerificationReport]", stale_index: str | None, imported: "Manifest | None"
) -> dict[str, object]:
    from fednas.toolchain.cli.output import as_json

    document: dict[str, object] = {
        "passed": _passed(reports, stale_index),
        "status": _status(reports),
        "index": stale_index or "agrees or absent",
        "folders": [
            {
                "folder": str(report.folder),
                "device": report.device,
                "passed": report.passed,
                "status": report.status,
                "verdicts": dict(report.outcome.verdicts),
                "checks": as_json(report.checks),
                "notes": report.notes,
                "without_engine": report.without_engine,
            }
            for report in reports
        ],
    }
    if imported is not None:
        document["board"] = as_json(imported.board)
        document["budgets"] = as_json(imported.shipment.budgets)
    return document


def _status(reports: "Sequence[VerificationReport]") -> str:
    """The weakest status that the folders were shipped with."""
    found = {report.status for report in reports}
    return next(status for status in ("rejected", "unverified", "verified") if status in found)


def _verdict(reports: "Sequence[VerificationReport]", stale_index: str | None) -> str:
    if failed := sum(not report.passed for report in reports):
        return f"verification failed for {failed} of {len(reports)} folders"
    if stale_index is not None:
        return "verification failed for the index"
    if missing := [why for report in reports for why in report.without_engine]:
        return f"the files are as shipped, but the board made no engine of {'; '.join(missing)}"
    unproven = sum(report.status == "unverified" for report in reports)
    if not unproven:
        return f"verified{_open_budgets(reports)}"
    which = "" if len(reports) == 1 else f" for {unproven} of {len(reports)} folders"
    return f"unchanged since it was shipped, but accuracy was never checked{which}{_open_budgets(reports)}"


def _open_budgets(reports: "Sequence[VerificationReport]") -> str:
    """What the folders themselves say was missed or undecided when they were shipped or imported."""
    found = [
        f"{report.device} {what} {'undecided' if verdict == 'cannot tell' else verdict}"
        for report in reports
        for what, verdict in report.outcome.verdicts
        if verdict != "met"
    ]
    return f"; as the manifest says: {', '.join(found)}" if found else ""


def _exit_code(passed: bool, reports: "Sequence[VerificationReport]", imported: "Manifest | None") -> ExitCode:
    """Failed checks first, then what the board's latency says about its budget, then engines that never came."""
    if not passed:
        return ExitCode.VERIFICATION_FAILED
    budgets = imported.shipment.budgets if imported else ()
    verdicts = {budget.verdict for budget in budgets if budget.quantity == "latency" and budget.basis == "measured"}
    if "missed" in verdicts:
        return ExitCode.BUDGET_MISSED
    unknown = "cannot tell" in verdicts or any(report.without_engine for report in reports)
    return ExitCode.CANNOT_TELL if unknown else ExitCode.OK
