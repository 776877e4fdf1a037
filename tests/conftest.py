"""What holds for every test: no key of yours, no address but this machine, and on request no skips."""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import Any

import pytest

# Whoever runs the tests may have keys, and base URLs of real providers, in the environment.
for name in [name for name in os.environ if name.endswith(("_API_KEY", "_BASE_URL"))]:
    del os.environ[name]

_connect = socket.socket.connect
_connect_ex = socket.socket.connect_ex


class LeftTheMachine(BaseException):
    """A test dialled out. Not an Exception, so that nothing under test can take it for a lost answer and go on."""


def _refuse(address: Any) -> None:
    if isinstance(address, tuple) and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
        raise LeftTheMachine(f"a test tried to reach {address[0]}")


def _guarded_connect(self: socket.socket, address: Any) -> None:
    _refuse(address)
    _connect(self, address)


def _guarded_connect_ex(self: socket.socket, address: Any) -> int:
    _refuse(address)
    return _connect_ex(self, address)


socket.socket.connect = _guarded_connect  # type: ignore[method-assign,assignment]
socket.socket.connect_ex = _guarded_connect_ex  # type: ignore[method-assign,assignment]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """With STORYRUN_NO_SKIPS=1 a skipped test is a failed one: CI must not be green for want of a tool."""
    report = yield
    if report.skipped and os.environ.get("STORYRUN_NO_SKIPS") == "1":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and nothing may be: {report.longrepr}"
    return report
