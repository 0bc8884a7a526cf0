"""What the server must hold, in full: `make soak`, or one of the four.

    python benchmarks/web_soak.py uploads       200 uploads at once; /healthz and memory meanwhile
    python benchmarks/web_soak.py trickle       2,000 sockets that send a byte a second for 60 s
    python benchmarks/web_soak.py kill          kill -9 at 20 seeded moments, 10 jobs each
    python benchmarks/web_soak.py openapi       schemathesis, every phase

Each prints its figures beside what must hold, and ends with 1 where something does not. The model is a toy of the size
of a real one's input, so that what is measured is the server, the worker processes and the face detector.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

import make_videos  # noqa: E402
from make_bundles import make_redness  # noqa: E402
from telltale.web.settings import ReceiptLimits  # noqa: E402
from web_load import MIB, copies, kill_round, run_schemathesis, seeded_moments, storm, trickle, watching  # noqa: E402
from web_server import Process  # noqa: E402

DEADLINE_S = ReceiptLimits().grace_s
Check = tuple[str, str, bool]
"""(what, figure, whether it holds)"""


def uploads(folder: Path, *, n: int = 200) -> list[Check]:
    files = copies(make_videos.face_clip(folder / "clip.mp4"), n, folder)
    with Process(folder / "data", make_redness(folder / "model", size_px=224)).wait_until_ready() as server:
        with watching(server.url, server.pid) as watched:
            result = storm(server.url, files, wait_s=3600)
        server.stop()
    return [
        (f"uploads at once, clients {n}; ended with a report", str(dict(result.ended)), result.ended["done"] == n),
        ("turned away with 429 at first, then taken", str(result.n_turned_away), True),
        ("turned away more than once", str(result.n_turned_away_twice), True),
        ("lost", str(result.n_lost), result.n_lost == 0),
        ("analyses a minute", f"{60 * n / result.took_s:.0f}", True),
        (
            f"/healthz, {len(watched.health_s)} asked: p50, p99 (< 500 ms)",
            f"{1e3 * watched.percentile_s(0.5):.0f} ms, {1e3 * watched.percentile_s(0.99):.0f} ms",
            watched.percentile_s(0.99) < 0.5 and set(watched.statuses) == {200},
        ),
        (
            "memory at its highest: server, with workers (< 3 GiB)",
            f"{watched.peak_server_bytes / MIB:.0f} MiB, {watched.peak_bytes / MIB:.0f} MiB",
            watched.peak_bytes < 3 << 30,
        ),
    ]


def trickling(folder: Path, *, n: int = 2000, for_s: float = 60.0) -> list[Check]:
    good_file = make_videos.write_picture(folder / "good.jpg", format="JPEG")
    with Process(folder / "data", make_redness(folder / "model", size_px=224)).wait_until_ready() as server:
        with watching(server.url, server.pid) as watched:
            result = trickle(server.port, n=n, for_s=for_s, good_file=good_file)
        server.stop()
    late_s = result.last_closed_s - DEADLINE_S
    return [
        (f"trickling sockets {n}; open after {for_s:g} s", str(result.n_open_at_end), result.n_open_at_end == 0),
        (
            f"the last was closed after (deadline {DEADLINE_S:g} s; at most 15 s more)",
            f"{result.last_closed_s:.1f} s",
            late_s < 15,
        ),
        ("what they were told", str(dict(result.answers)), "503" not in result.answers),
        ("uploads of the good client: taken, refused", f"{result.n_served}, {result.n_refused}", not result.n_refused),
        ("its slowest answer", f"{1e3 * result.slowest_s:.0f} ms", result.n_served > 0),
        (
            "/healthz p99, statuses",
            f"{1e3 * watched.percentile_s(0.99):.0f} ms, {dict(watched.statuses)}",
            set(watched.statuses) == {200},
        ),
        ("memory of the server at its highest", f"{watched.peak_server_bytes / MIB:.0f} MiB", True),
    ]


def kills(folder: Path, *, n_rounds: int = 20, n_jobs: int = 10) -> list[Check]:
    model = make_redness(folder / "model", size_px=224)
    files = copies(make_videos.face_clip(folder / "clip.mp4"), n_jobs, folder)
    ended: Counter[str] = Counter()
    n_unanswered = n_unended = n_left = n_orphans = 0
    for number, moment in enumerate(seeded_moments(n_rounds, n_jobs=n_jobs)):
        result = kill_round(folder / f"data-{number}", model, files, moment, wait_s=600)
        ended += result.ended
        n_unanswered += result.n_unanswered
        n_unended += result.n_unended
        n_left += result.n_results_left
        n_orphans += result.n_orphans
        print(f"  killed {moment.then_s:.2f} s after {moment.n_ended} jobs: {dict(result.ended)}", file=sys.stderr)
    expected = n_rounds * n_jobs
    return [
        (f"kill -9, {n_rounds} times over {n_jobs} jobs: ended", str(dict(ended)), ended["done"] == expected),
        ("not ended", str(n_unended), n_unended == 0),
        ("uploads without an answer, sent once more", str(n_unanswered), True),
        ("ended twice, or left lying", str(n_left), n_left == 0),
        ("workers that outlived their server", str(n_orphans), n_orphans == 0),
    ]


def openapi(folder: Path, *, n_examples: int = 30) -> list[Check]:
    with Process(folder / "data", make_redness(folder / "model", size_px=224), "--per-client", "5000") as server:
        server.wait_until_ready()
        done = run_schemathesis(server.url, folder, "--max-examples", str(n_examples), "--seed", "1")
        server.stop()
    figures = [line.strip() for line in done.stdout.splitlines() if "generated" in line or "passed" in line]
    if done.returncode:
        print(done.stdout[-6000:], file=sys.stderr)
    return [(f"schemathesis, {n_examples} examples an operation", "; ".join(figures), done.returncode == 0)]


RUNS: dict[str, Callable[[Path], list[Check]]] = {
    "uploads": uploads,
    "trickle": trickling,
    "kill": kills,
    "openapi": openapi,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("run", nargs="?", choices=list(RUNS), help="which; all if none is named")
    chosen = parser.parse_args().run
    wanted = [chosen] if chosen else list(RUNS)
    holds = True
    for name in wanted:
        with tempfile.TemporaryDirectory(prefix="telltale-soak-") as folder:
            for what, figure, is_held in RUNS[name](Path(folder)):
                print(f"{'ok  ' if is_held else 'FAIL'} {name}: {what}: {figure}", flush=True)
                holds &= is_held
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
