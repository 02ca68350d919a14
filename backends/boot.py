"""Starts the worker from this folder: `<interpreter> .../backends/boot.py`.

The worker must be ours even where the working folder or the interpreter has a package of the same
name, and must not see the packages of the interpreter that asks for it: so the package is loaded
from its folder, and `sys.path` stays the interpreter's own.
"""

import importlib.util
import runpy
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Load the package `backends` from this folder and run its worker."""
    # An interpreter that runs a file puts its folder first, where our folders would hide the
    # runtimes they are named after.
    sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() != HERE]
    spec = importlib.util.spec_from_file_location(
        "backends", str(HERE / "__init__.py"), submodule_search_locations=[str(HERE)]
    )
    assert spec is not None  # noqa: S101 - a file of ours
    assert spec.loader is not None  # noqa: S101 - as above
    package = importlib.util.module_from_spec(spec)
    sys.modules["backends"] = package
    spec.loader.exec_module(package)
    runpy.run_module("backends.worker", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
