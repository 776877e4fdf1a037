"""Keys that do not print, URLs without their secrets, base URLs, and which addresses are public."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from storyrun.errors import UsageError
from storyrun.http import Secret, base_url, is_loopback, without_secrets
from storyrun.http.addresses import allowed_address, leads_somewhere_safe
from storyrun.http.words import as_json, one_line

KEY = Secret("sk-canary-123456")


@dataclass
class Holder:
    key: Secret


@pytest.mark.parametrize(
    "shown",
    [str(KEY), repr(KEY), f"{KEY}", "%s" % KEY, f"{KEY!r:>8}".strip(), repr([KEY]), repr(Holder(KEY))],  # noqa: UP031
)
def test_a_secret_prints_as_stars_however_it_is_printed(shown: str) -> None:
    assert "canary" not in shown
    assert "***" in shown


def test_a_secret_is_not_serialised() -> None:
    with pytest.raises(TypeError):
        json.dumps({"key": KEY})
    assert KEY.reveal() == "sk-canary-123456"
    assert (bool(KEY), bool(Secret(""))) == (True, False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://oss.example/a.mp4?Expires=1&Signature=x now", "see https://oss.example/a.mp4?... now"),
        ('{"url":"https://h/a?sig=1","n":2}', '{"url":"https://h/a?...","n":2}'),
        (r'{"url":"https:\/\/h\/a?sig=1\u0026x=2"}', r'{"url":"https:\/\/h\/a?..."}'),
        (r'{"m":"see \"https://h/a?sig=1\" there"}', r'{"m":"see \"https://h/a?...\" there"}'),
        ("HTTPS://H/a?sig=1", "HTTPS://H/a?..."),
        ("http://h/a?b?c=1 http://h/d?e", "http://h/a?... http://h/d?..."),
        ("https://user:word@h/a?b", "https://***@h/a?..."),
        ("https://h/a and why?", "https://h/a and why?"),
        ("Bearer sk-canary-123456!", "Bearer ***!"),
        ("https://h/sk-canary-123456", "https://h/***"),
    ],
)
def test_a_text_loses_keys_passwords_and_the_queries_of_its_urls(text: str, shown: str) -> None:
    assert without_secrets(text, KEY, Secret("")) == shown


def test_json_stays_json_without_its_secrets() -> None:
    said = {"a": 'see "https://h/a?sig=1\\2" or\nhttps://h/b?sig="', "b": ["https://h/ü?sig=\u2028"]}
    for text in (json.dumps(said), json.dumps(said, ensure_ascii=False), json.dumps(said).replace("/", "\\/")):
        assert "sig=" not in json.dumps(json.loads(without_secrets(text)))


VERSIONS = ("/v1", "/api/v1")


@pytest.mark.parametrize(
    ("written", "base"),
    [
        ("https://tokenhub.link", "https://tokenhub.link"),
        ("https://tokenhub.link/", "https://tokenhub.link"),
        ("https://tokenhub.link/v1", "https://tokenhub.link"),
        ("https://tokenhub.link/v1/", "https://tokenhub.link"),
        ("https://dashscope-intl.aliyuncs.com/api/v1", "https://dashscope-intl.aliyuncs.com"),
        ("https://dashscope-intl.aliyuncs.com/api/v1//", "https://dashscope-intl.aliyuncs.com"),
        ("https://gateway.example/wan/prefix", "https://gateway.example/wan/prefix"),
        ("https://gateway.example/wan/v1/", "https://gateway.example/wan"),
        ("https://gateway.example/v10", "https://gateway.example/v10"),
        ("https://gateway.example:8443/api/v1", "https://gateway.example:8443"),
        ("  https://gateway.example \n", "https://gateway.example"),
        ("http://127.0.0.1:8080/toapis", "http://127.0.0.1:8080/toapis"),
        ("http://localhost:8080/v1", "http://localhost:8080"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
    ],
)
def test_a_base_url_may_be_written_in_several_ways(written: str, base: str) -> None:
    assert base_url(written, VERSIONS) == base
    assert base_url(written, VERSIONS[::-1]) == base


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("http://tokenhub.link", "in the open"),
        ("http://127.0.0.1.example.com", "in the open"),
        ("http://2130706433", "in the open"),
        ("http://10.0.0.1", "in the open"),
        ("tokenhub.link", "not a base URL"),
        ("ftp://tokenhub.link", "not a base URL"),
        ("", "not a base URL"),
        ("https://", "not a base URL"),
        ("https://h/v1?key=s3cret", "not a base URL"),
        ("https://h/#v1", "not a base URL"),
        ("https://user:s3cret@h", "not a base URL"),
        ("https://@h", "not a base URL"),
        ("http://s3cret@127.0.0.1", "not a base URL"),
        ("user:s3cret@h", "not a base URL"),
        ("https://[::1", "not a base URL"),
        ("https://h:abc", "not a base URL"),
        ("https://h:99999", "not a base URL"),
        ("https://h:0", "not a base URL"),
        ("https://a b", "not a base URL"),
        ("https://a\nb", "not a base URL"),
        ("https://h\\@evil", "not a base URL"),
    ],
)
def test_what_is_no_base_url_is_refused_in_a_sentence_without_secrets(written: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        base_url(written, VERSIONS)
    assert "s3cret" not in str(caught.value)
    assert "https://" in caught.value.hint


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("", False),
        ("localhost.example.com", False),
        ("0.0.0.0", False),  # noqa: S104 - an address to refuse, not to listen on
        ("2130706433", False),
        ("127.1", False),
    ],
)
def test_this_machine_is_known_by_its_plain_names_only(host: str, here: bool) -> None:
    assert is_loopback(host) is here


PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"]
PRIVATE = [
    *("10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200", "0.0.0.0", "255.255.255.255"),  # noqa: S104
    *("224.0.0.1", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fec0::1"),
    *("ff02::1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::"),
    *("64:ff9b::7f00:1", "2001:db8::1", "2852039166", "0251.0376.0251.0376", "0xa9fea9fe", "169.254.43518"),
    *("127.1", "١٢٧.٠.٠.١", "", "example.com", "8.8.8.8 "),
]


@pytest.mark.parametrize("address", PUBLIC)
@pytest.mark.parametrize("loopback", [False, True])
def test_a_public_address_is_allowed(address: str, loopback: bool) -> None:
    assert allowed_address(address, loopback=loopback)


@pytest.mark.parametrize("address", PRIVATE)
@pytest.mark.parametrize("loopback", [False, True])
def test_no_other_address_is_allowed_however_it_is_written(address: str, loopback: bool) -> None:
    assert not allowed_address(address, loopback=loopback)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.250.1.1", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_allowed_where_the_provider_is_there_too(address: str) -> None:
    assert allowed_address(address, loopback=True)
    assert not allowed_address(address, loopback=False)


@pytest.mark.parametrize(
    ("url", "away", "here"),
    [
        ("https://example.com/a", True, True),
        ("https://127.0.0.1/a", True, True),  # judged when it is dialled
        ("http://example.com/a", False, False),
        ("http://127.0.0.1:80/a", False, True),
        ("http://127.0.0.1@example.com/", False, False),
        ("https://user@example.com/", False, False),
        ("https://@example.com/", False, False),
        ("file:///etc/passwd", False, False),
        ("data:video/mp4;base64,AAAA", False, False),
        ("ftp://example.com/a", False, False),
        ("//example.com/a", False, False),
        ("https://[::1", False, False),
        ("", False, False),
    ],
)
def test_a_url_is_https_or_of_this_machine_beside_the_provider(url: str, away: bool, here: bool) -> None:
    assert leads_somewhere_safe(url, loopback=False) is away
    assert leads_somewhere_safe(url, loopback=True) is here


def test_numbers_that_no_json_of_ours_could_repeat_are_read_as_nothing() -> None:
    assert as_json('{"a": 1e400, "b": -1e999, "c": NaN, "d": Infinity, "e": 1.5}') == {
        **dict.fromkeys("abcd"),
        "e": 1.5,
    }


def test_somebody_else_s_words_come_on_one_line_and_move_no_cursor() -> None:
    assert (
        one_line("400, message:\n  Can not\tdecode\x1b[2J \u202egzip\ud800") == "400, message: Can not decode [2J gzip"
    )
