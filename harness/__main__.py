"""`python -m harness`: takes off the subcommands and hands the rest to Hydra."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def _forget_working_folder() -> None:
    # `python -m` puts the working folder first, where a user's own backends/ or reports/ would
    # hide ours.
    cwd = Path.cwd()
    if HERE.parent != cwd:
        sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != cwd]


def main() -> None:
    """Run the command line and leave with the exit status of docs: never with a traceback."""
    _forget_working_folder()
    from harness import streams  # noqa: PLC0415 - path first
    from harness.errors import ExitStatus, HarnessError  # noqa: PLC0415 - path first
    from harness.plain_text import plain  # noqa: PLC0415

    streams.make_lasting()
    if len(sys.argv) > 1 and sys.argv[1] == "--version":
        from harness import __version__  # noqa: PLC0415

        sys.stdout.write(f"harness {__version__}\n")
        return
    try:
        status = _dispatch(sys.argv[1:])
    except HarnessError as error:
        sys.stderr.write(f"harness: error: {plain(error)}\n")
        status = error.status
    except KeyboardInterrupt:
        sys.stderr.write("harness: interrupted\n")
        status = ExitStatus.INTERRUPTED
    except OSError as error:
        sys.stderr.write(f"harness: error: {error}\n")
        status = ExitStatus.ERROR
    sys.exit(status)


def _dispatch(arguments: list[str]) -> int:
    word = arguments[0] if arguments else ""
    if word == "help":  # `help` and `help COMMAND`, as many command lines have it
        arguments = [*arguments[1:], "--help"]
        word = arguments[0]
    if word and not word.startswith(("-", "+", "~")) and "=" not in word:
        from harness import commands  # noqa: PLC0415 - only when asked for

        return commands.run(word, arguments[1:])
    from harness.planning import compose  # noqa: PLC0415 - Hydra, only when a point is composed

    if {"--help", "-h"} & set(arguments):
        from harness import commands  # noqa: PLC0415 - only when asked for
        from harness.commands.help import help_text  # noqa: PLC0415 - as above

        sys.stdout.write(help_text(arguments, commands.listed()))
        return 0
    composition = compose.composition(arguments)
    if not composition.configs:
        return 0  # --cfg and its like have printed what was asked
    from harness.commands import measure  # noqa: PLC0415 - everything else, only when a point is measured

    return measure.run(composition)


if __name__ == "__main__":
    main()
