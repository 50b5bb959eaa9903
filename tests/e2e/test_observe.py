"""``python -m scripts.observe``: it shows a suite at work, draws it, and leaves nothing behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
from PIL import Image

from scripts.draw_dashboard import MAIN, draw, panels
from scripts.prometheus_server import Prometheus, get
from tests.e2e.forked_services import forked_program
from tests.e2e.processes import environment
from tests.patience import patient, wait_until

COMMAND = [sys.executable, "-m", "scripts.observe", "--port", "0"]
LAST_LINE = "Ctrl-C stops everything"


def test_it_shows_a_suite_at_work_and_ctrl_c_stops_all(
    weights: Path, repo_root: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with forked_program(COMMAND[2:], log, environment(weights)) as process:
        wait_until(lambda: LAST_LINE in log.read_text() or process.exitcode is not None, 240)
        lines = log.read_text().splitlines()
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 5, "four services and a Prometheus"
        (url,) = re.findall(r"^Prometheus +(http://\S+)$", "\n".join(lines), re.MULTILINE)
        asked = Prometheus(url)
        page = get(f"{url}/consoles/flashtalk.html").decode()
        assert page.count("<dt>") > 40
        check_links([line.strip() for line in lines if "/graph?" in line], url, asked)
        name = "flashtalk_frames_sent_total"
        wait_until(lambda: any(s.points[-1][1] > 0 for s in asked.query(name)), 120)
        now_s = asked.now_s()
        draw(asked, now_s - 30, now_s, tmp_path / "panels.png")
        psutil.Process(process.pid).send_signal(signal.SIGINT)
        process.join(patient(120))
        assert process.exitcode == 0
    assert [child for child in children if child.is_running()] == []
    with Image.open(tmp_path / "panels.png") as picture:
        assert picture.width > 1_000


def check_links(links: list[str], url: str, asked: Prometheus) -> None:
    """They lead to the panels of the first row: what they ask is understood."""
    assert len(links) == 3
    for link in links:
        assert link.startswith(url)
        queries = {k: v for k, v in parse_qs(urlsplit(link).query).items() if k.endswith(".expr")}
        assert queries
        for (expr,) in queries.values():
            asked.query(expr)


def test_the_picture_shows_the_cycle_first() -> None:
    assert [panel["title"] for panel in panels(MAIN)] == list(MAIN)
    assert MAIN[0] == "Cycle of a chunk by stage"


def test_bad_options_are_one_line(repo_root: Path) -> None:
    for options, word in ((["--sessions", "65"], "sessions"), (["--picture", "x.png"], "picture")):
        done = subprocess.run(
            [*COMMAND, *options],
            cwd=repo_root,
            capture_output=True,
            text=True,
            check=False,
            timeout=patient(120),
        )
        assert done.returncode == 2
        assert done.stdout == ""
        assert word in done.stderr
        assert len(done.stderr.splitlines()) == 1
