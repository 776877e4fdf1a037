"""storyrun beside the official SDK and a plain script, on the sandbox: python benchmarks/peers.py [--clips 60 ...]

Each makes the same clips at the same tasks-at-once from a fresh sandbox with the same seeded latency, in a process of
its own, in turn. All three order, poll, download and write; only storyrun also keeps a ledger, verifies and hashes.
The SDK polls as it likes (0, 1, 2, 4, 6, 8, 12 s and so on), the other two every --poll-interval seconds.

storyrun keeps to the orders per second that the model's card allows and begins with one a second, whatever the sandbox
would take; the other two know no limits. Where more is asked for than the card allows, the table says so.

Wall is that of the whole process, start-up included, against ceil(clips / at once) * mean latency. Ratios hold on any
machine, seconds do not. A difference below the spread of --rounds is none.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PEERS = {"storyrun": "storyrun", "sdk": "official SDK, threads", "plain": "plain asyncio script"}
MODEL, SECONDS, KEY = "wan2.7-t2v", 2, "sandbox-key"
CREATE, TASKS = "/api/v1/services/aigc/video-generation/video-synthesis", "/api/v1/tasks"
ROOM = 60.0
"""Seconds that a peer may take beyond five times the ideal, before it is given up."""


def prompt(number: int) -> str:
    return f"Dust moves in the lamplight, number {number}"


def body(number: int) -> dict[str, Any]:
    """What all of them order."""
    parameters = {"resolution": "720P", "ratio": "16:9", "duration": SECONDS}
    return {"model": MODEL, "input": {"prompt": prompt(number)}, "parameters": parameters}


# ── the three ────────────────────────────────────────────────────────────────────────────────────────────────────────


def storyrun(base: str, folder: Path, wanted: argparse.Namespace) -> int:
    """The command line, as a person would type it."""
    from storyrun.cli import main

    plan = folder / "plan.yaml"
    plan.write_text(
        f"version: 1\ntitle: Peers\nprovider: dashscope\nmodel: {MODEL}\n"
        f"matrix: {{n: [{', '.join(str(number) for number in range(wanted.clips))}]}}\n"
        f'defaults: {{resolution: 720p, aspect_ratio: "16:9", seconds: {SECONDS}}}\n'
        'scenes:\n  - {id: dust, prompt: "Dust moves in the lamplight, number {{ n }}"}\n',
        encoding="utf-8",
    )
    os.environ["DASHSCOPE_BASE_URL"], os.environ["DASHSCOPE_API_KEY"] = base, KEY
    pace = ("--concurrency", str(wanted.at_once), "--poll-interval", str(wanted.poll_interval))
    return main(["run", str(plan), "--yes", "--quiet", *pace])


def sdk(base: str, folder: Path, wanted: argparse.Namespace) -> int:
    """One blocking call a clip, in as many threads as tasks may run."""
    from concurrent.futures import ThreadPoolExecutor

    import dashscope
    import requests

    dashscope.base_http_api_url, dashscope.api_key = f"{base}/api/v1", KEY

    def make(number: int) -> None:
        said = dashscope.VideoSynthesis.call(
            model=MODEL, prompt=prompt(number), duration=SECONDS, resolution="720P", ratio="16:9"
        )
        (folder / f"{number}.mp4").write_bytes(requests.get(said.output.video_url, timeout=60).content)

    with ThreadPoolExecutor(wanted.at_once) as pool:
        list(pool.map(make, range(wanted.clips)))
    return 0


def plain(base: str, folder: Path, wanted: argparse.Namespace) -> int:
    """What one writes in an afternoon: a semaphore, a loop that polls, no memory of what was bought."""
    import aiohttp

    async def make(session: aiohttp.ClientSession, turn: asyncio.Semaphore, number: int) -> None:
        async with turn:
            headers = {"Authorization": f"Bearer {KEY}", "X-DashScope-Async": "enable"}
            async with session.post(base + CREATE, json=body(number), headers=headers) as answer:
                task = (await answer.json())["output"]["task_id"]
            url = None
            while url is None:
                await asyncio.sleep(wanted.poll_interval)
                async with session.get(f"{base}{TASKS}/{task}", headers=headers) as answer:
                    url = (await answer.json())["output"].get("video_url")
            async with session.get(url) as answer:
                data = await answer.read()
        await asyncio.to_thread((folder / f"{number}.mp4").write_bytes, data)

    async def everything() -> None:
        turn = asyncio.Semaphore(wanted.at_once)
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(make(session, turn, number) for number in range(wanted.clips)))

    asyncio.run(everything())
    return 0


# ── the service ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def serve(wanted: argparse.Namespace) -> None:
    """A sandbox in this process: says its base URL, waits for a line on stdin, and says what it saw."""
    from storyrun.sandbox import Sandbox, clips, orders
    from storyrun.sandbox.dashscope import DOCUMENT, DashScope

    seen: dict[str, float] = {}
    tell = DashScope.status

    def timed(self: DashScope, task: Any, view: Any) -> Any:
        if view.stage == "succeeded" and task.id not in seen:
            seen[task.id] = (sandbox.desk.now() - task.ends).total_seconds()
        return tell(self, task, view)

    DashScope.status = timed  # type: ignore[method-assign]
    async with Sandbox(latency=tuple(wanted.latency), seed=wanted.seed, tiny=True) as sandbox:
        # all clips look alike: drawn now, so that nobody waits for it
        await sandbox.desk.clips.draw(clips.form(orders.of_dashscope(body(0), DOCUMENT, lambda _: None), tiny=True))
        print(sandbox.base_url("dashscope"), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        found = {"polls": sandbox.counts["poll"], "booked": len(sandbox.log.booked), "delays": [*seen.values()]}
        print(json.dumps(found), flush=True)


# ── the table ────────────────────────────────────────────────────────────────────────────────────────────────────────


def measured(peer: str, wanted: argparse.Namespace) -> dict[str, float]:
    """One run of one of them on a sandbox of its own."""
    again = [sys.executable, __file__, *sys.argv[1:]]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([*again, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        base = server.stdout.readline().strip()
        if not base.startswith("http://127.0.0.1:"):
            sys.exit("the sandbox did not start: nobody is sent anywhere else")
        words = [*again, "--peer", peer, "--base", base, "--folder", folder]
        begun = time.monotonic()
        with Path(folder, "said.txt").open("w") as said:
            process = subprocess.Popen(words, stdout=said, stderr=said)
        limit = begun + 5 * ideal(wanted) + ROOM
        while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            if time.monotonic() > limit:
                process.kill()
            time.sleep(0.01)
        wall = time.monotonic() - begun
        process.returncode = os.waitstatus_to_exitcode(ended[1])
        server.stdin.write("\n")
        server.stdin.flush()
        saw = json.loads(server.stdout.readline())
        files = len(list(Path(folder).rglob("*.mp4")))
        told = Path(folder, "said.txt").read_text(errors="replace")
    if process.returncode or files != wanted.clips:
        print(told, file=sys.stderr)
        sys.exit(f"{peer} ended with {process.returncode} and {files} of {wanted.clips} clips: nothing to compare")
    usage, delays = ended[2], sorted(saw["delays"])
    return {
        "wall / ideal": wall / ideal(wanted),
        "CPU ms / clip": (usage.ru_utime + usage.ru_stime) * 1000 / wanted.clips,
        "peak MB": usage.ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024),
        "polls / clip": saw["polls"] / wanted.clips,
        "seen after s": statistics.mean(delays),
        "95% within s": delays[math.ceil(0.95 * len(delays)) - 1],
        "bought / clip": saw["booked"] / wanted.clips,
    }


def ideal(wanted: argparse.Namespace) -> float:
    """Seconds if every slot were always busy."""
    return float(math.ceil(wanted.clips / wanted.at_once) * statistics.mean(wanted.latency))


def compare(wanted: argparse.Namespace) -> None:
    """Run them in turn, as often as asked, and print medians with their ratios to the plain script."""
    peers = dict(PEERS)
    if importlib.util.find_spec("dashscope") is None:
        del peers["sdk"]
        print("official SDK: not installed (pip install dashscope), so it is left out\n")
    low, high = wanted.latency
    print(
        f"{wanted.clips} clips, {wanted.at_once} at once, {low:g}-{high:g} s each (seed {wanted.seed}), "
        f"polls every {wanted.poll_interval:g} s, ideal {ideal(wanted):.1f} s, rounds {wanted.rounds}\n"
    )
    from storyrun import cards

    allowed = cards.facts(cards.load("dashscope")[MODEL]).get("rate_limits", {}).get("creates_per_second")
    needed = min(wanted.at_once, wanted.clips) / statistics.mean(wanted.latency)
    if allowed and needed > allowed:
        print(f"the ideal orders {needed:.1f} clips a second, its card allows {allowed}: storyrun keeps to it\n")
    rows: dict[str, list[dict[str, float]]] = {peer: [] for peer in peers}
    for _ in range(wanted.rounds):
        for peer, row in rows.items():
            row.append(measured(peer, wanted))
    middle = {peer: {key: statistics.median(each[key] for each in row) for key in row[0]} for peer, row in rows.items()}
    heads = list(middle["plain"])
    print(f"{'':24}" + "".join(f"{head:>20}" for head in heads))
    for peer, name in peers.items():
        cells = [f"{middle[peer][head]:.3g} (x{middle[peer][head] / middle['plain'][head]:.2f})" for head in heads]
        print(f"{name:24}" + "".join(f"{cell:>20}" for cell in cells))
        if wanted.rounds > 1:
            spread = [
                f"[{min(each):.3g}..{max(each):.3g}]" for each in zip(*(r.values() for r in rows[peer]), strict=True)
            ]
            print(f"{'':24}" + "".join(f"{cell:>20}" for cell in spread))
    print("\nx: against the plain script. CPU, memory and wall are of the whole process, start-up included.")


def main() -> int:
    """Compare; or with the hidden options be the service or one of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=60, help="how many each of them makes (60)")
    parser.add_argument("--at-once", type=int, default=10, help="tasks at once (10)")
    parser.add_argument("--latency", type=float, nargs=2, default=[3.0, 4.0], metavar=("LOW", "HIGH"), help="(3 4) s")
    parser.add_argument("--poll-interval", type=float, default=1.0, help="of storyrun and the script (1 s)")
    parser.add_argument("--rounds", type=int, default=1, help="times that each of them runs, in turn (1)")
    parser.add_argument("--seed", type=int, default=1, help="of the latency (1)")
    for hidden in ("--peer", "--base", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if min(wanted.clips, wanted.at_once, wanted.rounds) < 1 or not 0 < wanted.latency[0] <= wanted.latency[1]:
        parser.error(
            "--clips, --at-once and --rounds are at least 1, and --latency goes from a low number to a high one"
        )
    if wanted.serve:
        asyncio.run(serve(wanted))
    elif wanted.peer:
        return {"storyrun": storyrun, "sdk": sdk, "plain": plain}[wanted.peer](wanted.base, Path(wanted.folder), wanted)
    else:
        compare(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
