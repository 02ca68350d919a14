"""Takes up what an earlier session left of a point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.planning.resume import is_taken_again, latest_document, whole_processes
from harness.records import journal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.measuring.trial import Trial

    Notify = Callable[[str], None]


def restore(trial: Trial, *, retry: bool) -> Mapping[str, Any] | None:
    """Take up what earlier sessions left in a point's folder.

    Returns:
        The point's document when it is finished and nothing is left to do.
    """
    document = latest_document(trial.folder, trial.planned.point.id)
    for one in journal.found(trial.folder):
        if list(trial.folder.glob(f"{one.trial_id}.json*")):
            one.drop()  # killed between writing the result and removing what it was made of
            continue
        trial.trial_id = one.trial_id
        trial.take_up()
        return None
    if document is None:
        return None
    state, stopped = document["status"]["state"], document["method"]["stop_reason"]
    if not is_taken_again(document, retry=retry) and (state != "skipped" or trial.planned.skip):
        trial.trial_id = document["trial_id"]
        trial.state, trial.reason = state, document["status"]["reason"]
        trial.stop_reason = stopped or "aborted"
        trial.done = len({one["index"] for one in document["processes"]})
        trial.spent_s = document["method"]["spent_s"]
        return document
    trial.take_over(document, whole_processes(document))
    return None
