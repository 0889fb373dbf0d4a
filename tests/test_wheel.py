"""What people install: the wheel in an empty environment, the demo outside the checkout, with all that ships."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MUST_SHIP = (
    "streamfuse/shipped/configs/demo.yaml",
    "streamfuse/shipped/calibration/rigs/heli041.yaml",
    "streamfuse/samples/heli041/thermal.mp4",
    "streamfuse/samples/heli041/visible.mp4",
    "streamfuse/samples/heli041/LICENSE",
)


def tell(*command: str | Path, **options):
    """Run a command; its output is the failure's text."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    tell(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_run_files_rigs_and_the_sample(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert not [name for name in MUST_SHIP if name not in names]
    assert not [name for name in names if name.startswith(("tests/", "docs/"))]


@pytest.mark.slow
def test_the_demo_runs_from_the_wheel_outside_the_checkout(wheel, tmp_path):
    uv = Path(sys.executable).with_name("uv")
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    env.setdefault("UV_FIND_LINKS", env.get("PIP_FIND_LINKS", ""))
    python = tmp_path / "venv/bin/python"
    tell(uv, "venv", "-q", "--python", sys.executable, tmp_path / "venv", env=env)
    tell(uv, "pip", "install", "-q", "--python", python, "-c", ROOT / "constraints.txt", wheel, env=env)
    said = tell(python, "-m", "streamfuse", "demo", "--seconds", "3", "--json", cwd=tmp_path, env=env)
    told = json.loads(said.strip().splitlines()[-1])
    assert told["balanced"]
    assert told["received"] > 30  # of 90; on a busy machine the newest frames win
    assert all((tmp_path / picture["path"]).exists() for picture in told["pictures"].values())
    where = tell(python, "-c", "import streamfuse; print(streamfuse.__file__)", cwd=tmp_path, env=env)
    assert str(tmp_path) in where
