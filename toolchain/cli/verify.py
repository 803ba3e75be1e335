"""The command ``verify``."""

from pathlib import Path
from typing import Annotated

import typer

from fednas.common import ExitCode


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A shipped device folder, or the folder of several.")],
) -> None:
    """Re-check a shipped folder against its manifest and test vectors; needs no torch.

    Checks sizes and hashes, the ONNX file, its metadata, and that ONNX Runtime gives the shipped logits. Ends
    with 0 if all is well, 4 if a check failed, 1 if it is no folder of ours or lacks a file.
    """
    from fednas.export import find_shipped_folders, verify_folder
    from fednas.toolchain.cli.output import as_json, emit, note, table

    reports = [verify_folder(found) for found in find_shipped_folders(folder)]
    rows = [
        (report.device, check.name, "ok" if check.passed else "FAILED", check.detail)
        for report in reports
        for check in report.checks
    ]
    passed = all(report.passed for report in reports)
    document = {
        "passed": passed,
        "folders": [
            {
                "folder": str(report.folder),
                "device": report.device,
                "passed": report.passed,
                "checks": as_json(report.checks),
                "notes": report.notes,
            }
            for report in reports
        ],
    }
    failed = sum(not report.passed for report in reports)
    verdict = "verified" if passed else f"verification failed for {failed} of {len(reports)} folders"
    emit(document, f"{table(rows, ('Device', 'Check', 'Result', 'Found'))}\n\n{verdict}")
    for report in reports:
        for line in report.notes:
            note(line)
    if not passed:
        raise typer.Exit(code=int(ExitCode.VERIFICATION_FAILED))
