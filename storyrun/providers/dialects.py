"""The bodies that order a clip, one function per dialect. A model card names its dialect, so a new model is a new file.

    size              Wan up to 2.6 from text          parameters.size, in pixels
    img_url           Wan up to 2.6 from a frame       input.img_url, parameters.resolution
    frame_urls        Wan 2.1 and 2.2, two frames      input.first_frame_url and last_frame_url; an endpoint of its own
    reference_urls    Wan 2.6 with references          input.reference_urls, parameters.size
    wan2.7            Wan 2.7                          input.media[], parameters.resolution and ratio
    wan3.0            Wan 3.0                          the same without sound files, with a switch for sound
    toapis            wan2.6 and -flash at ToAPIs      flat; ToAPIs picks the model by the fields that are there
    toapis-wan3.0     wan3.0 at ToAPIs                 flat, with lists by role

A body in the wrong dialect may be taken and fail minutes later (github.com/pollinations/pollinations/pull/11701).
It carries what the author set and what the API requires; a provider's defaults stay the provider's.
Pure: nothing is looked up but the card.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from storyrun import cards, jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from storyrun.records import BoundReference, Job, MediaSource, ModelCard

Body = dict[str, Any]

NOT_UPLOADED = "upload:"
"""What stands in a body for a local file that has no URL yet."""


class Order(NamedTuple):
    """A job, what its model's card says, and where its local files can be had."""

    job: Job
    card: ModelCard
    uploads: Mapping[str, str]

    def url(self, source: MediaSource | None) -> str | None:
        """What the body says for a file or URL."""
        if source is None:
            return None
        if source.path is None:
            return source.text
        return self.uploads.get(source.text, NOT_UPLOADED + source.text)

    @property
    def seconds(self) -> int | float | None:
        return None if self.job.seconds is None else jobs.number(self.job.seconds)

    @property
    def tier(self) -> str | None:
        """The resolution as DashScope writes it: 720P. ToAPIs writes 720p, as we do."""
        return self.job.resolution and self.job.resolution.upper()

    @property
    def size(self) -> str | None:
        """The pixels, where the author set resolution or ratio: the API takes neither alone (docs of wan2.6-t2v)."""
        job, card = self.job, self.card
        if job.resolution is None and job.aspect_ratio is None:
            return None
        width, height = card.sizes[job.resolution or card.default_resolution][job.aspect_ratio or card.default_ratio]
        return f"{width}*{height}"

    @property
    def silent(self) -> bool | None:
        """False to switch the sound off, where there is a switch; None leaves it as it is."""
        return False if self.job.audio == "none" and self.card.sound == "optional" else None

    @property
    def media(self) -> Iterator[tuple[BoundReference, MediaSource, str | None]]:
        """Every picture and film of the references, in the order in which prompts count them."""
        for reference in self.job.references:
            for medium in reference.media:
                yield reference, medium, self.url(medium)


def body(provider: str, job: Job, uploads: Mapping[str, str]) -> Body:
    """The body that orders a job. `uploads` maps the text of a local file to its URL; what it lacks is shown."""
    card = cards.choose(provider, job.model, job.mode)
    return DIALECTS[cards.facts(card)["dialect"]](Order(job, card, uploads))


def not_uploaded(request: Mapping[str, Any]) -> str:
    """The first local file in a body that has no URL; "" when there is none. Texts are not looked into."""
    waiting: list[Any] = [request]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += [value for key, value in part.items() if key not in ("prompt", "negative_prompt")]
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, str) and part.startswith(NOT_UPLOADED):
            return part.removeprefix(NOT_UPLOADED)
    return ""


# ── DashScope, and TokenHub, which passes its bodies on ──────────────────────────────────────────────────────────────


def _size(order: Order) -> Body:
    """help.aliyun.com/zh/model-studio/text-to-video-api-reference: `size` is 1280*720, neither a ratio nor a tier."""
    given = {"audio_url": order.url(order.job.audio_file)}
    return _dashscope(order, given, size=order.size)


def _img_url(order: Order) -> Body:
    """help.aliyun.com/zh/model-studio/image-to-video-api-reference."""
    given = {"img_url": order.url(order.job.first_frame), "audio_url": order.url(order.job.audio_file)}
    return _dashscope(order, given, resolution=order.tier)


def _frame_urls(order: Order) -> Body:
    """docs.qwencloud.com/api-reference/video-generation/wan-image-to-video-first-last-frames/create-task."""
    job = order.job
    given = {"first_frame_url": order.url(job.first_frame), "last_frame_url": order.url(job.last_frame)}
    return _dashscope(order, given, resolution=order.tier)


def _reference_urls(order: Order) -> Body:
    """help.aliyun.com/zh/model-studio/wan-video-to-video-api-reference: character1 is the first URL, film or not."""
    return _dashscope(order, {"reference_urls": [url for _, _, url in order.media]}, size=order.size)


def _wan2_7(order: Order) -> Body:
    """docs.qwencloud.com/api-reference/video-generation/wan27-{text,image,reference}-to-video/create-task.

    A sound file is `audio_url` from text, and a medium beside frames. A voice goes with a medium, as the SDK and
    Alibaba's guide have it (one page has it on `input`): with the first of several pictures of the same person.
    """
    job = order.job
    media = _frames(order)
    voiced: set[str] = set()
    for reference, medium, url in order.media:
        item = {"type": f"reference_{medium.kind}", "url": url}
        if reference.voice is not None and reference.name not in voiced:
            item["reference_voice"] = order.url(reference.voice)
            voiced.add(reference.name)
        media.append(item)
    sound = order.url(job.audio_file)
    if sound and job.mode != "text":
        media.append({"type": "driving_audio", "url": sound})
        sound = None
    given = {"audio_url": sound, "media": media or None}
    return _dashscope(order, given, resolution=order.tier, ratio=job.aspect_ratio)


def _wan3_0(order: Order) -> Body:
    """alibabacloud.com/help/en/model-studio/wan3-video-generation-api-reference, by digests of it."""
    media = [*_frames(order), *({"type": f"reference_{medium.kind}", "url": url} for _, medium, url in order.media)]
    return _dashscope(order, {"media": media or None}, resolution=order.tier, ratio=order.job.aspect_ratio)


def _dashscope(order: Order, given: Body, **shape: str | None) -> Body:
    """`model`, `input`, `parameters`. The last is there even if it is empty: without it a request may be refused
    (BadRequest.EmptyParameters, help.aliyun.com/zh/model-studio/error-code).
    """
    job = order.job
    return {
        "model": job.model,
        "input": _set({"prompt": job.prompt, "negative_prompt": job.negative_prompt, **given}),
        "parameters": _set(
            {
                **shape,
                "prompt_extend": job.prompt_extend,
                "watermark": job.watermark,
                "duration": order.seconds,
                "shot_type": job.shot_type,
                "audio": order.silent,
                "seed": job.seed,
            }
        ),
    }


def _frames(order: Order) -> list[Body]:
    frames = {"first_frame": order.job.first_frame, "last_frame": order.job.last_frame}
    return [{"type": kind, "url": order.url(source)} for kind, source in frames.items() if source is not None]


# ── ToAPIs ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _toapis(order: Order) -> Body:
    """docs.toapis.com/docs/en/api-reference/videos/wan2.6/generation: a picture or films decide which model it is."""
    job = order.job
    films = [url for _, _, url in order.media]
    return _set(
        {
            "model": job.model,
            "prompt": job.prompt,
            "negative_prompt": job.negative_prompt,
            "image_urls": [order.url(job.first_frame)] if job.first_frame else None,
            "metadata": {"reference_urls": films} if films else None,
            "aspect_ratio": job.aspect_ratio,
            "resolution": job.resolution,
            "duration": order.seconds,
            "seed": job.seed,
            "prompt_extend": job.prompt_extend,
            "shot_type": job.shot_type,
            "audio": order.silent,
            "watermark": job.watermark,
        }
    )


def _toapis_wan3_0(order: Order) -> Body:
    """docs.toapis.com/docs/cn/api-reference/videos/wan3.0/generation."""
    job = order.job
    frames = [{"url": frame["url"], "role": frame["type"]} for frame in _frames(order)]
    pictures = [url for _, medium, url in order.media if medium.kind == "image"]
    films = [{"video_url": url} for _, medium, url in order.media if medium.kind == "video"]
    return _set(
        {
            "model": job.model,
            "prompt": job.prompt,
            "duration": order.seconds,
            "ratio": job.aspect_ratio,
            "resolution": job.resolution,
            "audio": order.silent,
            "watermark": job.watermark,
            "seed": job.seed,
            "image_with_roles": frames or None,
            "reference_images": pictures or None,
            "video_list": films or None,
        }
    )


def _set(fields: Body) -> Body:
    return {key: value for key, value in fields.items() if value is not None}


DIALECTS: dict[str, Callable[[Order], Body]] = {
    "size": _size,
    "img_url": _img_url,
    "frame_urls": _frame_urls,
    "reference_urls": _reference_urls,
    "wan2.7": _wan2_7,
    "wan3.0": _wan3_0,
    "toapis": _toapis,
    "toapis-wan3.0": _toapis_wan3_0,
}
