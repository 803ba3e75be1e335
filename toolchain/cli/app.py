"""The table of contents of the command line: which command lives where."""

import typer

from fednas.toolchain.cli.cache import cache
from fednas.toolchain.cli.check import check
from fednas.toolchain.cli.devices import devices_app
from fednas.toolchain.cli.doctor import doctor
from fednas.toolchain.cli.evaluate import evaluate
from fednas.toolchain.cli.frontier import frontier
from fednas.toolchain.cli.group import FednasGroup
from fednas.toolchain.cli.import_supernet import import_supernet
from fednas.toolchain.cli.profile import profile_app
from fednas.toolchain.cli.profile_import import import_results
from fednas.toolchain.cli.score import score
from fednas.toolchain.cli.search import search
from fednas.toolchain.cli.ship import fednas_export
from fednas.toolchain.cli.table import table_app
from fednas.toolchain.cli.train import train
from fednas.toolchain.cli.verify import verify

app = typer.Typer(
    name="fednas-export",
    cls=FednasGroup,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback(invoke_without_command=True)(fednas_export)
for command in (search, frontier, score, cache, check, verify, train, evaluate, doctor):
    app.command()(command)
app.command("import")(import_supernet)
app.add_typer(devices_app, name="devices")
app.add_typer(table_app, name="table")
profile_app.command("import")(import_results)
app.add_typer(profile_app, name="profile")
