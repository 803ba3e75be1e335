"""The command line: ``app`` for tests, ``main`` for the console script."""

from fednas.toolchain.cli.app import app


def main() -> None:
    """Run the command line and exit."""
    app()


__all__ = ["app", "main"]
