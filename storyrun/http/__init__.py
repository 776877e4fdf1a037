"""The aiohttp edge: one client that has the key and follows nothing, one that has no key and fetches clips.

What aiohttp raises is translated here, once, by what is known to have left this machine:

    creates      refused, no such host, connect timeout, TLS        NotSent      nothing left
                 everything else that is not an answer              LostAnswer   it may have been bought
    questions    anything that is not an answer                     MissedPoll   ask again
    downloads    403, 404, 410                                      NotFound     a fresh URL is needed
                 anything else                                      FetchFailed  the clip is as bought as before

Neither client repeats a request, reads the environment, or sends cookies.

The two clients are loaded when they are asked for: what only reads a base URL needs no aiohttp.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from storyrun.http.words import Secret, as_json, base_url, is_loopback, retry_after, without_secrets

if TYPE_CHECKING:
    from storyrun.http.api import ApiClient
    from storyrun.http.downloads import DownloadClient

__all__ = [
    "ApiClient",
    "DownloadClient",
    "Secret",
    "as_json",
    "base_url",
    "is_loopback",
    "retry_after",
    "without_secrets",
]


def __getattr__(name: str) -> Any:
    if name == "ApiClient":
        from storyrun.http.api import ApiClient

        return ApiClient
    if name == "DownloadClient":
        from storyrun.http.downloads import DownloadClient

        return DownloadClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
