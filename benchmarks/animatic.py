"""How much faster than real time animatics are drawn: python benchmarks/animatic.py [rounds]

1280x720 at 30 frames a second, 15 s, on one core where the system lets us choose; each factor is the best of the rounds
(others may use the machine), by processor time, with the median beside it. Then all cores at once, by the clock.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from PIL import Image

from storyrun import media
from storyrun.providers.animatic.film import render
from storyrun.providers.animatic.fonts import Fonts

SECONDS = 15
ACTIONS = (
    ("wide shot", "rainy New York street with neon lights as a detective in a black trench coat walks quickly"),
    ("medium shot", "the detective enters an old building and the door slowly closes behind him"),
    ("close-up", "focused eyes, distant sirens, and a subtle frown"),
    ("medium shot", "he moves carefully through a dim corridor with a flashlight"),
    ("close-up", "he discovers a key clue and shows a sudden expression of realization"),
)


def job(cameras: str, **more):
    """Five shots; `cameras` says which of them move: "..m.m"."""
    shots = [
        {"index": n + 1, "start": 3 * n, "end": 3 * n + 3, "framing": framing, "action": action}
        | ({"camera": "slow push in"} if cameras[n] == "m" else {})
        for n, (framing, action) in enumerate(ACTIONS)
    ]
    form = {"scene": "investigation", "variant": {"city": "New York"}, "take": 2, "shots": shots, "length": SECONDS}
    return form | {"frame_rate": "30", "width": 1280, "height": 720, "sounding": True} | more


def photograph(folder: Path) -> dict:
    """A picture with as much in it as a photograph has."""
    rough = Image.effect_noise((120, 68), 90).resize((1920, 1080), Image.Resampling.BICUBIC)
    fine = Image.blend(rough, Image.effect_noise((1920, 1080), 40), 0.15)
    Image.merge("RGB", (fine, rough, Image.blend(rough, fine, 0.5))).save(folder / "a.jpg", quality=92)
    data = (folder / "a.jpg").read_bytes()
    return {"text": "a.jpg", "kind": "image", "sha256": hashlib.sha256(data).hexdigest()}


def one_core(wanted: set[int] | None):
    """Hold this process to some cores, or say which it has."""
    if not hasattr(os, "sched_setaffinity"):
        return set(range(os.cpu_count() or 1))
    if wanted:
        os.sched_setaffinity(0, wanted)
    return os.sched_getaffinity(0)


def main(rounds: int) -> None:
    fonts = Fonts(None, print)
    cores = one_core(None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        picture = {"first_frame": photograph(folder)}
        cases = {
            "the detective (no camera named)": job("....."),
            "two of five shots move": job(".m.m."),
            "every shot moves": job("mmmmm"),
            "a picture, still": job(".....", **picture),
            "a picture, every shot moves": job("mmmmm", **picture),
        }
        times: dict[str, list[float]] = {case: [] for case in cases}
        one_core({max(cores)})
        for _ in range(rounds):
            for case, form in cases.items():  # in turn, so that a busy minute hits all of them
                start = time.process_time()
                render(form, folder, folder / case, fonts)
                times[case].append(time.process_time() - start)
        print(f"one core, {SECONDS} s of 1280x720 at 30 frames a second   best   median    file")
        for case, spent in times.items():
            size = (folder / case).stat().st_size / 1000
            print(f"  {case:<48} {SECONDS / min(spent):6.1f}x {SECONDS / median(spent):6.1f}x {size:6.0f} kB")
        probes = []
        for _ in range(rounds):
            start = time.process_time()
            media.probe(folder / "two of five shots move")
            probes.append(time.process_time() - start)
        print(f"  probing one of them {1000 * min(probes):.0f} ms")
        one_core(cores)
        clips, form = 2 * len(cores), cases["two of five shots move"]
        start = time.perf_counter()
        with ThreadPoolExecutor(len(cores)) as pool:
            list(pool.map(lambda n: render(form, folder, folder / str(n), fonts), range(clips)))
        factor = clips * SECONDS / (time.perf_counter() - start)
        print(f"{len(cores)} cores, {clips} clips at once: {factor:.1f}x by the clock")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
