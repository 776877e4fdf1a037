"""The guards of `conftest.py` hold."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("host", ["203.0.113.1", "8.8.8.8"])
def test_no_test_reaches_an_address_outside_this_machine(host: str) -> None:
    with socket.socket() as dialled, pytest.raises(BaseException, match=f"a test tried to reach {host}"):
        dialled.connect((host, 443))


async def test_no_test_reaches_out_through_asyncio_either() -> None:
    import asyncio

    with pytest.raises(BaseException, match="a test tried to reach"):
        await asyncio.open_connection("203.0.113.1", 443)


def test_a_server_on_this_machine_is_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as dialled:
        assert dialled.getpeername() == server.getsockname()


def test_no_key_of_the_user_is_in_the_environment() -> None:
    assert not [name for name in os.environ if name.endswith("_API_KEY")]


def test_a_skip_fails_when_nothing_may_be_skipped(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_it.py").write_text("import pytest\n\ndef test_it():\n    pytest.skip('no tool')\n")
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "test_it.py"],
        cwd=tmp_path,
        env={**os.environ, "STORYRUN_NO_SKIPS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed" in told.stdout
    assert "test_it.py::test_it was skipped, and nothing may be" in told.stdout
