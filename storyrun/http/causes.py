"""What aiohttp raised, without the request that it carries around: its headers have the key, its URL a signature."""

from __future__ import annotations

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from storyrun.http.words import without_secrets


def shorn(error: BaseException) -> BaseException:
    """The error itself, good as the cause of one of ours: neither its `repr` nor its text repeats a secret."""
    if isinstance(error, aiohttp.ClientResponseError):
        place = URL.build(scheme="https", host=error.request_info.real_url.host or "nowhere")
        nothing: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
        error.request_info = aiohttp.RequestInfo(place, error.request_info.method, nothing, place)
        error.history = ()
        error.args = (error.request_info, ())
    else:
        error.args = tuple(without_secrets(each) if isinstance(each, str) else each for each in error.args)
    return error
