"""Providers by name: their variables, keys, base URLs, what they are called and bill in, and what they load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from storyrun import cards, providers
from storyrun.errors import UsageError
from storyrun.providers import verdicts
from storyrun.records import ErrorClass
from tests.clouds import job_of

CLOUDS = ("tokenhub", "toapis", "dashscope")


def test_the_variables_are_those_of_the_contract() -> None:
    assert {name: providers.environment(name) for name in providers.PROVIDERS} == {
        "animatic": None,
        "tokenhub": ("TOKENHUB_API_KEY", "TOKENHUB_BASE_URL", "https://tokenhub.link"),
        "toapis": ("TOAPIS_API_KEY", "TOAPIS_BASE_URL", "https://toapis.com"),
        "dashscope": ("DASHSCOPE_API_KEY", "DASHSCOPE_BASE_URL", "https://dashscope-intl.aliyuncs.com"),
    }
    assert set(providers.PROVIDERS) == {"animatic", *cards.PROVIDERS}


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("key", [None, "", "  \n"])
def test_a_provider_without_its_key_is_refused_with_the_variable_to_set(name: str, key: str | None) -> None:
    settings = providers.environment(name)
    assert settings
    env = {} if key is None else {settings.key: key}
    with pytest.raises(UsageError, match=f"{settings.key} is not set; nothing was sent") as caught:
        providers.build(name, env, lambda _: None)
    assert settings.key in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("base", ["http://example.com", "ftp://example.com", "example.com", "https://"])
def test_a_base_url_that_would_not_do_is_refused(base: str) -> None:
    env = {"DASHSCOPE_API_KEY": "sk-canary", "DASHSCOPE_BASE_URL": base}
    for make in (lambda: providers.build("dashscope", env, lambda _: None), lambda: providers.label("dashscope", env)):
        with pytest.raises(UsageError) as caught:
            make()
        assert "sk-canary" not in str(caught.value)


async def test_the_animatic_needs_nothing() -> None:
    provider = providers.build("animatic", {}, lambda _: None)
    assert (provider.name, provider.paid) == ("animatic", False)
    await provider.aclose()


@pytest.mark.parametrize(
    ("base", "label"),
    [
        (None, "dashscope"),
        ("", "dashscope"),
        ("https://dashscope.aliyuncs.com/api/v1", "dashscope"),
        ("https://proxy.example:8443", "dashscope"),
        ("http://127.0.0.1:8080/api/v1/", "dashscope@127.0.0.1-8080"),
        ("http://localhost:9000", "dashscope@localhost-9000"),
        ("http://127.0.0.1", "dashscope@127.0.0.1-80"),
        ("https://localhost/prefix", "dashscope@localhost-443"),
        ("http://[::1]:81", "dashscope@--1-81"),
    ],
)
def test_a_provider_on_this_machine_has_a_name_of_its_own(base: str | None, label: str) -> None:
    assert providers.label("dashscope", {} if base is None else {"DASHSCOPE_BASE_URL": base}) == label


def test_a_loopback_base_url_of_one_provider_is_nothing_to_another() -> None:
    env = {"DASHSCOPE_BASE_URL": "http://127.0.0.1:8080"}
    assert [providers.label(name, env) for name in ("animatic", "tokenhub", "toapis")] == [
        "animatic",
        "tokenhub",
        "toapis",
    ]


@pytest.mark.parametrize(
    ("host", "currency"),
    [
        (None, "USD"),
        ("dashscope-intl.aliyuncs.com", "USD"),
        ("dashscope-us.aliyuncs.com", "USD"),
        ("ws1.ap-southeast-1.maas.aliyuncs.com", "USD"),
        ("ws1.eu-central-1.maas.aliyuncs.com", "USD"),
        ("dashscope.aliyuncs.com", "CNY"),
        ("ws1.cn-beijing.maas.aliyuncs.com", "CNY"),
        ("dashscope.aliyuncs.com.evil.example", "USD"),
    ],
)
def test_the_host_decides_what_dashscope_bills_in(host: str | None, currency: str) -> None:
    env = {} if host is None else {"DASHSCOPE_BASE_URL": f"https://{host}/api/v1"}
    assert providers.currency("dashscope", env) == currency
    assert providers.currency("tokenhub", env) is providers.currency("animatic", env) is None


def test_a_preview_of_a_body_needs_no_key_and_sends_nothing() -> None:
    for name in CLOUDS:
        assert providers.body(name, job_of(name, next(iter(cards.load(name)))))["model"]
    assert providers.body("animatic", job_of("animatic", "animatic"))["renderer"]


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_asking_for_a_name_loads_no_network() -> None:
    program = """
import sys
from storyrun import providers
env = {"DASHSCOPE_BASE_URL": "http://127.0.0.1:1"}
assert providers.label("dashscope", env) and providers.currency("dashscope", env) and providers.environment("toapis")
print(sorted({"aiohttp", "PIL", "av", "jinja2", "asyncio", "jsonschema"} & set(sys.modules)))
"""
    assert run(program) == "[]"


def test_a_preview_of_a_body_loads_no_network() -> None:
    program = """
import sys
from storyrun.providers import dialects
print(sorted({"aiohttp", "PIL", "av", "jsonschema"} & set(sys.modules)))
"""
    assert run(program) == "[]"


@pytest.mark.parametrize("name", providers.PROVIDERS)
def test_no_provider_knows_another(name: str) -> None:
    folder = Path(providers.__file__).parent
    mine = [*folder.glob(f"{name}.py"), *folder.glob(f"{name}/*.py")]
    assert mine
    for other in providers.PROVIDERS.keys() - {name}:
        assert not [file for file in mine if f"providers.{other}" in file.read_text("utf-8")]


# ── codes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("Arrearage", "balance"),
        ("arrearage", "balance"),
        ("NOT AUTHORIZED", "credentials"),
        ("App.AccessDenied", "credentials"),
        ("AccessDenied.Unpurchased", "balance"),
        ("Throttling", "rate_limit"),
        ("Throttling.RateQuota", "rate_limit"),
        ("Throttling.Something.New", "rate_limit"),
        ("Throttling.AllocationQuota", "balance"),
        ("InvalidFile.Duration", "parameter"),
        ("InvalidURL", "parameter"),
        ("InvalidURL.Timeout", "provider"),
        ("InternalError.Algo", "provider"),
        ("InternalError.Algo.InvalidParameter", "parameter"),
        ("InternalError.Algo.DataInspectionFailed", "moderation"),
        ("", None),
        ("Brand.New", None),
    ],
)
def test_a_code_has_its_class_whatever_the_status(code: str, kind: str | None) -> None:
    assert verdicts.classify(code) == (None if kind is None else ErrorClass(kind))


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("generation_failed", "it violates our Content Policy", "moderation"),
        ("", "余额不足", "balance"),
        ("task_failed", "IPInfringementSuspect: suspected", "moderation"),
        ("Brand.New", "content policy", None),
        ("generation_failed", "Error: something broke", None),
    ],
)
def test_words_count_only_where_the_code_says_nothing(code: str, message: str, kind: Any) -> None:
    assert verdicts.classify(code, message) == (None if kind is None else ErrorClass(kind))


def test_every_class_has_something_to_do_about_it() -> None:
    assert set(verdicts.TO_DO) == set(ErrorClass)
