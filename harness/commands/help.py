"""The text of `--help`."""

from __future__ import annotations

import hydra
from hydra.errors import HydraException

from harness.config import schema
from harness.errors import ExitStatus, UsageError
from harness.planning import plugins
from harness.planning.compose import conf_folder, devices_as_list, one_line

GROUPS = ("backend", "model", "measure", "scenario", "accuracy", "experiment")
HELP = """\
harness: benchmarks Tacotron2 + WaveGlow, and says how far each number can be trusted

usage: python -m harness [-m] [key=value ...]    measure one point, or with -m a sweep
       python -m harness COMMAND ...             one of the commands below; each answers --help
       python -m harness --version

Commands:
{commands}

With -m a comma list is swept: -m quant=force_float16,force_float32 bs=1,4,8

Groups (key=choice):
{groups}

Keys and their values now:
{keys}
Exit status:
{statuses}
"""


def help_text(arguments: list[str], commands: str) -> str:
    """Return what `--help` prints: how to call, the choices of every group, every key and value.

    Args:
        arguments: of the command line.
        commands: what there is beside measuring.

    Hydra's own page takes longer to make than everything before it, and explains Hydra.

    Raises:
        UsageError: the arguments beside `--help` cannot be composed.
    """
    schema.register()
    plugins.register(arguments)
    overrides = [devices_as_list(one) for one in arguments if not one.startswith("-")]
    try:
        with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
            composed = hydra.compose("config", overrides)
    except HydraException as error:
        raise UsageError(one_line(error)) from error
    choices = {name: _choices(name) for name in GROUPS}
    choices["backend"] = sorted({*choices["backend"], *plugins.plugin_names()})
    groups = "\n".join(f"  {name}: {', '.join(found)}" for name, found in choices.items())
    return HELP.format(
        commands=commands,
        groups=groups,
        keys=schema.as_yaml(composed),
        statuses="\n".join(f"{int(one):>5}  {one.meaning}" for one in ExitStatus),
    )


def _choices(group: str) -> list[str]:
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))
