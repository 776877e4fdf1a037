"""The records that flow through the program, and nothing else. Imports nothing of ours.

Left of the run: `Storyboard` (what was written), `ModelCard` (what a model takes), `Job` (one clip to order), `Plan`.
Right of it: `TaskStatus` (what a provider says), `Attempt` (a row of the ledger), `MediaInfo` (what a file is).

Times are exact: seconds as `Fraction`, frames as `int`. Money is `Decimal` with its currency.
"""

from storyrun.records.plan import (
    BoundReference,
    Film,
    Job,
    MediaSource,
    ModelCard,
    Part,
    Plan,
    ShotWindow,
)
from storyrun.records.run import (
    Accepted,
    Answer,
    Attempt,
    ClipEvent,
    Echo,
    ErrorClass,
    Failure,
    MediaInfo,
    State,
    Task,
    TaskStatus,
)
from storyrun.records.storyboard import (
    Axis,
    AxisValue,
    Cut,
    Line,
    Mark,
    MediaKind,
    Mode,
    Money,
    Price,
    Problem,
    Reference,
    Scene,
    Severity,
    Shot,
    Storyboard,
    Text,
    Where,
)

__all__ = [
    "Accepted",
    "Answer",
    "Attempt",
    "Axis",
    "AxisValue",
    "BoundReference",
    "ClipEvent",
    "Cut",
    "Echo",
    "ErrorClass",
    "Failure",
    "Film",
    "Job",
    "Line",
    "Mark",
    "MediaInfo",
    "MediaKind",
    "MediaSource",
    "Mode",
    "ModelCard",
    "Money",
    "Part",
    "Plan",
    "Price",
    "Problem",
    "Reference",
    "Scene",
    "Severity",
    "Shot",
    "ShotWindow",
    "State",
    "Storyboard",
    "Task",
    "TaskStatus",
    "Text",
    "Where",
]
