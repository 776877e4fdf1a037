"""Files of the sandbox: pictures that customers upload, and clips behind signed URLs."""

from __future__ import annotations

import io
from fractions import Fraction

import aiohttp
import pytest
from PIL import Image

from tests.customer import SMALL, Customer, Hands, Said, changed, task_of, trade, url_of


def picture(size: tuple[int, int], form: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size).save(data, form)
    return data.getvalue()


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def uploaded(customer: Customer, data: bytes, name: str = "desk.png", **spoilt: str) -> tuple[Said, str]:
    """DashScope's temporary store: the answer to the form, and the URL."""
    policy = (await customer.ask("GET", "/api/v1/uploads?action=getPolicy&model=wan2.2-i2v-flash")).json["data"]
    fields = {
        "OSSAccessKeyId": policy["oss_access_key_id"],
        "Signature": policy["signature"],
        "policy": policy["policy"],
        "key": f"{policy['upload_dir']}/{name}",
        "x-oss-object-acl": policy["x_oss_object_acl"],
        "x-oss-forbid-overwrite": policy["x_oss_forbid_overwrite"],
        "success_action_status": "200",
    } | spoilt
    form = aiohttp.FormData(fields)
    form.add_field("file", data, filename=name)
    return await customer.ask("POST", policy["upload_host"], data=form), f"oss://{fields['key']}"


async def test_a_picture_uploaded_to_dashscope_gives_the_clip_its_shape() -> None:
    async with trade("dashscope") as customer:
        said, url = await uploaded(customer, picture((300, 400)))
        body = {"model": "wan2.2-i2v-flash", "input": {"img_url": url}, "parameters": {"resolution": "480P"}}
        unresolved = await customer.create(body)
        other = await customer.create(
            body | {"model": "wan2.2-i2v-plus"}, **{"X-DashScope-OssResourceResolve": "enable"}
        )
        taken = await customer.create(body, **{"X-DashScope-OssResourceResolve": "enable"})
        (line,) = customer.sandbox.log.booked
    assert (said.status, unresolved.json["code"], taken.status) == (200, "InvalidParameter", 200)
    assert other.json["code"] == "InvalidParameter.DataInspection"
    width, height = (int(part) for part in line["size"].split("x"))
    assert abs(Fraction(width, height) - Fraction(3, 4)) < Fraction(1, 100)
    assert (line["mode"], line["sounding"]) == ("image", False)


@pytest.mark.parametrize(
    ("spoilt", "status"),
    [
        ({"Signature": "x"}, 403),
        ({"policy": "eyJhIjoxfQ=="}, 400),
        ({"key": "dashscope-instant/elsewhere/a.png"}, 403),
        ({"x-oss-forbid-overwrite": "false"}, 403),
        ({"x-oss-object-acl": "public-read"}, 403),
        ({"success_action_status": "204"}, 204),
    ],
)
async def test_the_temporary_store_takes_only_what_the_policy_allows(spoilt: dict[str, str], status: int) -> None:
    async with trade("dashscope") as customer:
        assert (await uploaded(customer, b"x", **spoilt))[0].status == status


async def test_the_temporary_store_wants_no_key_and_no_second_file_of_one_name() -> None:
    async with trade("dashscope") as customer:
        policy = (await customer.ask("GET", "/api/v1/uploads?action=getPolicy&model=wan2.2-i2v-flash")).json["data"]
        form = aiohttp.FormData({"key": "x"})
        form.add_field("file", b"x", filename="x")
        keyed = await customer.ask("POST", policy["upload_host"], data=form, headers=customer.key)
        _, url = await uploaded(customer, b"x")
        again, _ = await uploaded(customer, b"x", key=url.removeprefix("oss://"))
        wrong = await customer.ask("GET", "/api/v1/uploads?action=getPolicy&model=wan9")
    assert (keyed.status, again.status, wrong.status) == (400, 403, 404)
    assert customer.sandbox.leaks == ["/oss with Authorization"]


async def test_a_picture_uploaded_to_toapis_is_public_and_can_be_ordered_with() -> None:
    async def upload(data: bytes, kind: str) -> Said:
        form = aiohttp.FormData({"purpose": "generation"})
        form.add_field("file", io.BytesIO(data), filename="desk", content_type=kind)
        return await customer.ask("POST", "/v1/uploads/images", data=form)

    async with trade("toapis") as customer:
        said = await upload(picture((640, 640)), "image/png")
        url = said.json["data"]["url"]
        assert (await customer.session.get(url)).status == 200
        taken = await customer.create({"model": "wan2.6", "prompt": "A cat", "image_urls": [url]})
        film, large = await upload(b"x", "video/mp4"), await upload(bytes(10 * 1024 * 1024 + 1), "image/png")
        assert customer.sandbox.log.booked[0]["size"] == "1440x1440"
    assert said.json["data"].keys() == {"id", "url", "mime_type", "size"}
    assert taken.status == 200
    assert (film.status, film.json["success"], large.status) == (400, False, 400)


# ── signed URLs ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_clip_comes_whole_or_in_ranges_of_the_same_file() -> None:
    async with trade("dashscope") as customer:
        url = await customer.url()
        whole = await customer.ask("GET", url)
        tag, size = whole.headers["ETag"], len(whole.body)
        rest = await customer.ask("GET", url, headers={"Range": "bytes=1000-", "If-Range": tag})
        some = await customer.ask("GET", url, headers={"Range": "bytes=10-19"})
        last = await customer.ask("GET", url, headers={"Range": "bytes=-5"})
        changed_file = await customer.ask("GET", url, headers={"Range": "bytes=1000-", "If-Range": '"other"'})
        beyond = await customer.ask("GET", url, headers={"Range": f"bytes={size}-"})
        head = await customer.ask("HEAD", url)
    assert (rest.status, rest.body) == (206, whole.body[1000:])
    assert rest.headers["Content-Range"] == f"bytes 1000-{size - 1}/{size}"
    assert (some.body, last.body) == (whole.body[10:20], whole.body[-5:])
    assert (changed_file.status, changed_file.body) == (200, whole.body)
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")
    assert (head.status, head.headers["Content-Length"]) == (200, str(size))


async def test_a_signed_url_expires_and_polling_gives_a_fresh_one() -> None:
    clock = Hands()
    async with trade("dashscope", clock=clock, url_lifetime=60) as customer:
        created = await customer.create()
        first = url_of(await customer.poll(created)) or ""
        clock.move(59)
        assert (await customer.ask("GET", first)).status == 200
        clock.move(1)
        gone = await customer.ask("GET", first)
        assert (await customer.ask("GET", url_of(await customer.poll(created)) or "")).status == 200
    assert (gone.status, b"<Code>AccessDenied</Code>" in gone.body) == (403, True)


async def test_a_signature_is_good_for_its_path_and_time_only_and_no_key_may_come_along() -> None:
    async with trade("dashscope") as customer:
        one, two = await customer.url(), await customer.url()
        path, _, query = one.partition("?")
        for url in (
            path,
            f"{two.partition('?')[0]}?{query}",
            one.replace("Expires=1", "Expires=2"),
            one[:-6] + "AAAA%3D",
        ):
            assert (await customer.ask("GET", url)).status == 403
        assert customer.sandbox.leaks == []
        assert (await customer.ask("GET", one, headers=customer.key)).status == 400
    assert customer.sandbox.leaks == [f"{path.removeprefix(customer.sandbox.origin)} with Authorization"]


async def test_a_clip_is_not_there_before_its_task_has_ended() -> None:
    clock = Hands()
    async with trade("toapis", clock=clock, latency=10.0) as customer:
        created = await customer.create()
        desk = customer.sandbox.desk
        url = desk._signed(f"/files/toapis/{task_of(created)}.mp4")
        assert (await customer.ask("GET", url)).status == 404


async def test_clips_of_one_body_are_drawn_once_and_tiny_ones_for_every_prompt() -> None:
    other = changed(SMALL["dashscope"], "input.prompt", "A dog sleeps")
    for tiny, drawn in ((False, 2), (True, 1)):
        async with trade("dashscope", tiny=tiny) as customer:
            clips = [
                await customer.ask("GET", url_of(await customer.poll(await customer.create(body))) or "")
                for body in (None, None, other)
            ]
            assert clips[0].body == clips[1].body
            assert len({clip.body for clip in clips}) == drawn
            assert len(customer.sandbox.desk.clips._drawing) == drawn
