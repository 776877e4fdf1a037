"""The providers, by name. Each is loaded when it is used; nothing here reads the environment, it is passed in."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from storyrun.http import ApiClient, DownloadClient
    from storyrun.providers.base import Provider
    from storyrun.records import Job

    Warn = Callable[[str], None]
    Environ = Mapping[str, str]


class Environment(NamedTuple):
    """The variables that a provider is set up with, and the base URL that holds when its variable is not set."""

    key: str
    base: str
    default: str


ENVIRONMENTS: dict[str, Environment] = {
    "tokenhub": Environment("TOKENHUB_API_KEY", "TOKENHUB_BASE_URL", "https://tokenhub.link"),
    "toapis": Environment("TOAPIS_API_KEY", "TOAPIS_BASE_URL", "https://toapis.com"),
    "dashscope": Environment("DASHSCOPE_API_KEY", "DASHSCOPE_BASE_URL", "https://dashscope-intl.aliyuncs.com"),
}

FONT = "STORYRUN_FONT"
"""The variable that names a font file for animatics."""

NOTHING_SET: Environ = MappingProxyType({})

ENDINGS = ("/v1", "/api/v1")
"""What people write at the end of a base URL although we add it."""

MAINLAND = ("dashscope.aliyuncs.com", ".cn-beijing.maas.aliyuncs.com")
"""Hosts of DashScope that bill in CNY (help.aliyun.com/zh/model-studio/model-pricing); all others bill in USD."""


def environment(name: str) -> Environment | None:
    """The variables of a provider; None for one that needs none."""
    return ENVIRONMENTS.get(name)


def _animatic(warn: Warn, env: Environ = NOTHING_SET) -> Provider:
    """The free preview, drawn on this machine."""
    from storyrun.providers.animatic import Animatic

    font = env.get(FONT)
    return Animatic(warn=warn, font=Path(font) if font else None)


def _tokenhub(warn: Warn, env: Environ = NOTHING_SET) -> Provider:
    from storyrun.providers.tokenhub import TokenHub

    return TokenHub(*_edge("tokenhub", env), warn)


def _toapis(warn: Warn, env: Environ = NOTHING_SET) -> Provider:
    from storyrun.providers.toapis import ToApis

    return ToApis(*_edge("toapis", env), warn)


def _dashscope(warn: Warn, env: Environ = NOTHING_SET) -> Provider:
    from storyrun.providers.dashscope import DashScope

    return DashScope(*_edge("dashscope", env), warn)


PROVIDERS: dict[str, Callable[..., Provider]] = {
    "animatic": _animatic,
    "tokenhub": _tokenhub,
    "toapis": _toapis,
    "dashscope": _dashscope,
}
"""Name to a function that makes it, given where to send warnings and the environment."""


def build(name: str, env: Environ, warn: Warn) -> Provider:
    """A provider ready to be used. Raises `UsageError` when its key is not set or its base URL cannot be used."""
    return PROVIDERS[name](warn, env)


def label(name: str, env: Environ) -> str:
    """What a provider is called in fingerprints, ledger, budget and folders: `dashscope@127.0.0.1-8080` for one on
    this machine, so that nothing rehearsed is ever taken for something bought. Raises `UsageError` as `build` does.
    """
    settings = environment(name)
    if settings is None or not env.get(settings.base):
        return name
    from storyrun.http.words import is_loopback

    parts = urlsplit(_base(settings, env))
    host = parts.hostname or ""
    if not is_loopback(host):
        return name
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{name}@{host.replace(':', '-')}-{port}"


def base(name: str, env: Environ) -> str:
    """The base URL that a provider is asked at; empty for one that needs none. Raises `UsageError` as `build` does."""
    settings = environment(name)
    return "" if settings is None else _base(settings, env)


def currency(name: str, env: Environ) -> str | None:
    """The currency that a provider bills in, where its cards have prices in several; None where they decide."""
    if name != "dashscope":
        return None
    settings = ENVIRONMENTS[name]
    host = urlsplit(_base(settings, env) if env.get(settings.base) else settings.default).hostname or ""
    return "CNY" if host == MAINLAND[0] or host.endswith(MAINLAND[1]) else "USD"


def body(name: str, job: Job) -> dict[str, Any]:
    """The request of a job as a preview shows it: nothing is uploaded, no key is needed."""
    if environment(name) is None:
        return build(name, {}, lambda _: None).request(job, {})
    from storyrun.providers import dialects

    return dialects.body(name, job, {})


def _base(settings: Environment, env: Environ) -> str:
    from storyrun.http.words import base_url

    return base_url(env.get(settings.base) or settings.default, ENDINGS)


def _edge(name: str, env: Environ) -> tuple[ApiClient, DownloadClient]:
    """The client that has the key, and the one that fetches clips."""
    from storyrun.errors import UsageError
    from storyrun.http import ApiClient, DownloadClient, Secret, is_loopback

    settings = ENVIRONMENTS[name]
    key = env.get(settings.key, "").strip()
    if not key:
        hint = f"export {settings.key}=..., or write it into a file .env here; `storyrun preview` needs none"
        raise UsageError(f"{settings.key} is not set; nothing was sent", hint)
    base = _base(settings, env)
    here = is_loopback(urlsplit(base).hostname or "")
    return ApiClient(base, Secret(key)), DownloadClient(loopback=here)
