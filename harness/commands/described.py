"""The subcommands, described: nothing here imports what they need to run."""

from __future__ import annotations

from harness.commands.options import Command, Flag, Key, Word
from harness.errors import ExitStatus

_ONE_FOLDER = Word("DIR", "folder of a sweep")
_NO_YES = ("false", "true")

COMMANDS = (
    Command(
        "backends",
        "harness.commands.machine",
        "list the backends found here, with their options, and what is wrong with broken ones",
        flags=(Flag("--python", "interpreter of the measured side, default this one", "PYTHON"),),
    ),
    Command(
        "baseline",
        "harness.commands.baseline",
        "keep a sweep's results under a name for compare and baseline=, or list the names",
        words=(
            Word("list|save NAME DIR", "list the saved names, or save the sweep in DIR", most=3),
        ),
        keys=(Key("overwrite", "replace a baseline of that name", _NO_YES),),
    ),
    Command(
        "clean",
        "harness.commands.clean",
        "name, and with apply=true remove, sweeps and cache entries that are old or too large",
        keys=(
            Key("what", "what is looked at", ("all", "sweeps", "cache")),
            Key("older", "choose what was last written longer ago, such as 12h or 30d"),
            Key("above", "choose the oldest until the rest is no larger, such as 500M or 20G"),
            Key("outputs", "where sweeps lie", default="outputs"),
            Key("apply", "remove what is chosen, not only name it", _NO_YES),
        ),
    ),
    Command(
        "compare",
        "reports.commands",
        "verdicts on two sweeps, point by point: slower, faster, no difference or unresolved",
        words=(
            Word("BASE", "the baseline: a sweep's folder or a saved name; alone: a sweep that was "
                 "measured with baseline="),
            Word("NEW", "the candidate: a sweep's folder or a saved name", least=0),
        ),
        needs="a baseline and a candidate",
        keys=(
            Key("rule", "how it is judged: by intervals, or as the original does (logs too)",
                ("verdict", "compat")),
            Key("format", "how the comparison is written",
                ("text", "markdown", "latex", "json", "junit", "html")),
            Key("out", "the file to write", otherwise="standard output"),
            Key("fail_on", "from which verdict on the command fails", ("slower", "unresolved")),
            Key("across", "what may differ between the two", ("nothing", "hardware")),
            Key("delta", "the smallest share of time that matters", default="0.02"),
            Key("occasion_sd", "spread between two occasions, as a share",
                otherwise="what selfcheck measured here, else 0.01"),
        ),
        statuses=(
            (ExitStatus.REGRESSION, "a point is slower, or the compat rule fails"),
            (ExitStatus.UNRESOLVED, "a point is unresolved, and fail_on=unresolved"),
            (ExitStatus.NOTHING_MEASURED, "no point can be compared"),
            (ExitStatus.ACCURACY_FAILED, "a candidate's outputs are too far from the reference"),
        ),
    ),
    Command(
        "doctor",
        "harness.commands.machine",
        "look at the machine and name what would disturb a measurement; change nothing",
        keys=(
            Key("fail_on", "what makes the command fail", ("nothing", "warning")),
            Key("outputs", "where results would be written", default="outputs"),
            Key("backend", "a backend to ask for its runtime and device too", otherwise="none"),
            Key("backend.python", "its interpreter", otherwise="this one"),
            Key("devices", "its device", default="0"),
        ),
        statuses=((ExitStatus.ERROR, "a warning, and fail_on=warning; or an error of ours"),),
    ),
    Command(
        "export",
        "harness.commands.models",
        "write the ONNX files of a models_dir from NVIDIA's checkpoints",
        keys=(
            Key("checkpoint", "the file of a checkpoint; several as a comma list or repeated",
                otherwise="what fetch left in models_dir", again=True),
            Key("models_dir", "where the files are written", default="models"),
            Key("model", "the sizes of the layers", ("full", "tiny")),
            Key("dropout", "whether the rows of a batch share the prenet's mask",
                ("shared", "per_row")),
            Key("max_steps", "most steps of the decoder's loop", default="1664"),
            Key("overwrite", "replace files that are there", _NO_YES),
        ),
    ),
    Command(
        "fetch",
        "harness.commands.models",
        "download NVIDIA's two checkpoints, named in conf/fetch.yaml",
        keys=(
            Key("models_dir", "where the files are put", default="models"),
            Key("file", "which of them", ("both", "tacotron2", "waveglow")),
            *(
                Key(name, meaning, otherwise="as conf/fetch.yaml says")
                for name, meaning in (
                    *(
                        (f"{network}.{name}", meaning)
                        for network in ("tacotron2", "waveglow")
                        for name, meaning in (
                            ("url", "the file's address"),
                            ("sha256", "what the file must have; null: not checked"),
                            ("bytes", "its size in bytes; null: not checked"),
                        )
                    ),
                    ("attempts", "how often each file is tried"),
                    ("backoff_s", "seconds before the second attempt, doubled each time"),
                    ("timeout_s", "most seconds to connect, and between two pieces"),
                )
            ),
        ),
    ),
    Command(
        "history",
        "reports.commands",
        "show a metric over time: every trial of a point in any number of sweeps",
        words=(Word("DIR", "sweeps, or folders that hold some; default outputs", least=0,
                    most=None),),
        keys=(
            Key("metric", "SUBJECT.STATISTIC, such as decoder.p99",
                otherwise="the mean response of a server, else the mean latency"),
            Key("point", "a point's id, or a part of its name", otherwise="all points"),
            Key("format", "how it is written", ("text", "csv", "json")),
            Key("plot", "a file for a figure, such as trend.svg", otherwise="none"),
        ),
    ),
    Command(
        "report",
        "reports.commands",
        "write the report of a sweep again from its result files, as a page or as other formats",
        words=(_ONE_FOLDER,),
        keys=(
            Key("format", "what is written, into report.html, .md, .csv, .json and .tex",
                ("html", "markdown", "csv", "json", "latex", "all"), several=True),
            Key("out", "the file to write, or a folder; with several formats a folder",
                otherwise="the sweep's folder"),
        ),
        flags=(Flag("--open", "show the page in the browser"),),
    ),
    Command(
        "roofline",
        "harness.commands.machine",
        "measure what this machine can do at most: reading, and products in every precision",
        keys=(
            Key("form", "how much is measured", ("short", "long")),
            Key("raw", "keep the raw results too", _NO_YES),
            Key("processes", "fresh processes of each figure", otherwise="the form's"),
            Key("iterations", "timed iterations of each process", otherwise="the form's"),
        ),
    ),
    Command(
        "selfcheck",
        "harness.commands.machine",
        "measure what this machine can tell apart: A/A, power, smallest detectable effect",
        keys=(
            Key("form", "how much is measured", ("short", "long")),
            Key("raw", "keep the raw results too", _NO_YES),
            Key("fail_on", "what makes the command fail", ("nothing", "unfit")),
            Key("comparisons", "comparisons of equal work (A/A)", otherwise="the form's"),
            Key("powered", "comparisons with a difference added", otherwise="the form's"),
            Key("pairs", "processes of each side in a comparison", otherwise="the form's"),
            Key("tolerated", "false alarms that are still fit", otherwise="the form's"),
            Key("iterations", "timed iterations of each process", otherwise="the form's"),
            Key("noise_s", "seconds that noise is listened to", otherwise="the form's"),
        ),
        statuses=((ExitStatus.ERROR, "unfit, and fail_on=unfit; or an error of ours"),),
    ),
    Command(
        "slo",
        "harness.commands.slo",
        "find the largest rate of requests at which a percentile of the response keeps a limit",
        keys=(
            Key("slo_ms", "the limit in milliseconds; must be given"),
            Key("percentile", "the percentile that must keep it", ("99", "50", "90", "95")),
            Key("steps", "rates that are tried", default="6"),
        ),
        others="any key of a point, as `python -m harness --help` lists them: bs=4",
        statuses=(
            (ExitStatus.NOTHING_MEASURED, "no rate was found and confirmed at which it is kept"),
        ),
    ),
    Command(
        "verify",
        "harness.commands.verify",
        "compute every stored summary again from the raw samples; check schema and hashes",
        words=(_ONE_FOLDER,),
        statuses=((ExitStatus.ERROR, "a file does not say what its samples say"),),
    ),
)  # fmt: skip
"""Every subcommand, by name."""
