"""How long `storyrun --help` and `storyrun check` of 20 shots take, as ratios to `python -c pass`, in one run.

Goals: at most 5.5 for --help, at most 13 for check. Ratios hold on any machine, seconds do not.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 15
GOALS = {"--help": 5.5, "check": 13.0}

SHOT = """\
      - seconds: 3
        framing: wide shot
        camera: slow push in
        action: >
          {{ weather }} {{ city }} street with neon lights, number %d
        dialogue:
          - detective: Anyone here?
        sound: distant sirens
"""


def plan_of_20_shots() -> str:
    """Four scenes of five shots over an axis, with templates, defaults and vars as plans have them."""
    scenes = "".join(
        f"  - id: scene-{number}\n    premise: A tense story.\n    takes: 2\n    shots:\n"
        + "".join(SHOT % (5 * number + shot) for shot in range(5))
        for number in range(4)
    )
    return (
        "version: 1\ntitle: Twenty shots\nprovider: tokenhub\nmodel: wan2.7-t2v\n"
        "defaults:\n  resolution: 720p\n  look: 35mm film\nvars:\n  weather: rainy\n"
        f"matrix:\n  city: [New York, Tokyo]\nscenes:\n{scenes}"
    )


def main() -> int:
    """Print the medians and the ratios; 1 when a goal is missed."""
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "twenty.yaml"
        plan.write_text(plan_of_20_shots(), encoding="utf-8")
        storyrun = str(Path(sys.executable).with_name("storyrun"))
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "--help": [storyrun, "--help"],
            "check": [storyrun, "check", str(plan)],
        }
        # compiled modules are kept beside the plan: an installed storyrun has them, wherever this one runs
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        kept["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "compiled")
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS + 1):  # the first is for the caches
            for name, command in commands.items():
                begun = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True, env=kept)
                times[name].append(time.perf_counter() - begun)
    floor = times["python -c pass"][1:]
    missed = False
    for name, taken in times.items():
        ratios = sorted(own / base for own, base in zip(taken[1:], floor, strict=True))
        ratio = statistics.median(ratios)
        goal = GOALS.get(name)
        verdict = "" if goal is None else f"  goal {goal}  {'met' if ratio <= goal else 'MISSED'}"
        missed = missed or (goal is not None and ratio > goal)
        spread = f"[{ratios[0]:.1f}..{ratios[-1]:.1f}]"
        print(f"{name:15} {statistics.median(taken[1:]) * 1000:6.1f} ms  x{ratio:.1f} {spread}{verdict}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
