"""Where the console script starts."""

import sys


def main() -> None:
    """Run the command line and exit."""
    try:
        # Imported here, so that Ctrl-C during the imports is one line too.
        from fednas.common import ending_signals_raise

        with ending_signals_raise("SIGTERM"):
            from fednas.toolchain.cli import app

            app()
    except KeyboardInterrupt:
        sys.stderr.write("fednas-export: interrupted; nothing was left half written\n")
        sys.exit(130)
