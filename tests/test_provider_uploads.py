"""Local files on their way to the clouds: only what was planned, once, small enough, and without the key elsewhere."""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
from typing import TYPE_CHECKING, Any

import pytest

from storyrun.errors import MissedPoll, NotSent, ProviderError, Rejected
from storyrun.providers.uploads import Once, picture
from storyrun.records import ErrorClass, MediaSource
from tests.clouds import KEY, Reply, Server, recording, talk

if TYPE_CHECKING:
    from pathlib import Path


def source(path: Path, data: bytes, **more: Any) -> MediaSource:
    path.write_bytes(data)
    more = {"kind": "image", "pixels": None} | more
    return MediaSource(f"refs/{path.name}", path=path, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), **more)


def drawn(kind: str, size: tuple[int, int] = (300, 200), mode: str = "RGB", **how: Any) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.effect_noise(size, 90).convert(mode).save(out, kind, **how)
    return out.getvalue()


def uploaded(server: Server) -> tuple[str, bytes]:
    """File name and content of the last form that came."""
    body = server.asked[-1].body
    found = re.search(rb'name="file"; filename="([^"]*)"\r\n(?:[^\r\n]+\r\n)*\r\n(.*)\r\n--', body, re.DOTALL)
    assert found, body[:500]
    return found[1].decode(), found[2]


async def put_up(name: str, file: MediaSource, *replies: Any, warn: list[str] | None = None) -> tuple[str, Any]:
    async def act(provider: Any, server: Server) -> Any:
        server.plan(*replies)
        return await provider.upload(file, "wan2.6"), server

    answer: tuple[str, Any] = await talk(name, act, warn)
    return answer


async def test_toapis_takes_a_picture_as_it_is_and_a_person_is_told_that_it_becomes_public(tmp_path: Path) -> None:
    data, told = drawn("PNG"), list[str]()
    file = source(tmp_path / "geheim.png", data)
    url, server = await put_up("toapis", file, recording("toapis", "upload-done"), warn=told)
    assert url == "https://files.toapis.com/uploads/123/1737568800_abc12345.jpg"
    assert server.asked[0].path == "/v1/uploads/images"
    assert server.asked[0].headers["Authorization"] == f"Bearer {KEY}"
    name, sent = uploaded(server)
    assert sent == data
    assert name.endswith(".png")
    assert b"geheim" not in server.asked[0].body
    assert told == ["refs/geheim.png goes to ToAPIs and becomes public: whoever has its URL can see it"]


async def test_each_content_goes_up_once_however_many_ask(tmp_path: Path) -> None:
    data = drawn("JPEG")
    files = [source(tmp_path / name, data) for name in ("a.jpg", "b.jpg")]

    async def act(provider: Any, server: Server) -> Any:
        server.plan(recording("toapis", "upload-done"))
        return await asyncio.gather(*(provider.upload(file, "wan2.6") for file in files * 3))

    assert len(set(await talk("toapis", act))) == 1


@pytest.mark.parametrize(
    ("kind", "mode", "why"), [("BMP", "RGB", "bmp"), ("TIFF", "RGB", "an unknown type"), ("TIFF", "RGBA", "unknown")]
)
async def test_a_picture_of_a_type_that_toapis_does_not_take_becomes_a_jpeg(
    tmp_path: Path, kind: str, mode: str, why: str
) -> None:
    from PIL import Image

    told: list[str] = []
    file = source(tmp_path / "desk.img", drawn(kind, mode=mode))
    _, server = await put_up("toapis", file, recording("toapis", "upload-done"), warn=told)
    name, sent = uploaded(server)
    with Image.open(io.BytesIO(sent)) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (300, 200), "RGB")
    assert name.endswith(".jpg")
    assert why in told[0]


async def test_a_picture_over_10_mb_is_encoded_anew(tmp_path: Path) -> None:
    told: list[str] = []
    file = source(tmp_path / "wall.png", drawn("PNG") + bytes(10 * 1024 * 1024))
    _, server = await put_up("toapis", file, recording("toapis", "upload-done"), warn=told)
    _, sent = uploaded(server)
    assert sent.startswith(b"\xff\xd8\xff")
    assert told[0] == "refs/wall.png is 10.1 MB, so a JPEG of it is sent"


@pytest.mark.parametrize(("most", "smaller"), [(190_000, False), (100_000, True)])
def test_a_picture_is_made_smaller_only_when_no_quality_fits(tmp_path: Path, most: int, *, smaller: bool) -> None:
    from PIL import Image

    file = source(tmp_path / "wall.png", drawn("PNG", (600, 450)))
    made_fit = picture(file, frozenset({"image/png"}), most)
    assert len(made_fit.data) <= most < file.bytes
    with Image.open(io.BytesIO(made_fit.data)) as image:
        assert (image.size != (600, 450)) is smaller
        assert image.width / image.height == pytest.approx(4 / 3, rel=0.02)
    with pytest.raises(NotSent, match="cannot be made smaller than 100 bytes"):
        picture(file, frozenset({"image/png"}), 100)


async def test_a_picture_stays_upright_when_it_is_encoded_anew(tmp_path: Path) -> None:
    from PIL import Image

    turned = Image.Exif()
    turned[0x0112] = 6
    file = source(tmp_path / "turned.tif", drawn("TIFF", (300, 200), exif=turned))
    _, server = await put_up("toapis", file, recording("toapis", "upload-done"))
    with Image.open(io.BytesIO(uploaded(server)[1])) as image:
        assert image.size == (200, 300)


@pytest.mark.parametrize(
    ("answer", "error", "kind"),
    [
        (recording("toapis", "upload-wrong-type"), Rejected, ErrorClass.PARAMETER),
        (recording("toapis", "upload-too-large"), Rejected, ErrorClass.PARAMETER),
        (recording("toapis", "create-wrong-key"), Rejected, ErrorClass.CREDENTIALS),
        (recording("toapis", "create-throttled"), MissedPoll, ErrorClass.RATE_LIMIT),
        (Reply(500, "<html>"), MissedPoll, ErrorClass.PROVIDER),
        (Reply(200, {"success": True, "data": {"url": None}}), MissedPoll, ErrorClass.PROVIDER),
        (Reply(200, "[]"), MissedPoll, ErrorClass.PROVIDER),
    ],
)
async def test_a_file_that_is_not_taken_is_told_with_its_name_and_tried_again_next_time(
    tmp_path: Path, answer: Any, error: type[ProviderError], kind: ErrorClass
) -> None:
    file = source(tmp_path / "desk.png", drawn("PNG"))

    async def act(provider: Any, server: Server) -> Any:
        server.plan(answer)
        with pytest.raises(error, match=r"refs/desk\.png was not uploaded .*Nothing was bought") as caught:
            await provider.upload(file, "wan2.6")
        assert caught.value.kind is kind
        server.plan(recording("toapis", "upload-done"))
        return await provider.upload(file, "wan2.6")

    assert await talk("toapis", act)


async def test_only_what_was_planned_leaves_this_machine(tmp_path: Path) -> None:
    """A file that changed, went, or is no picture: nothing is sent, and it is said why."""
    changed = source(tmp_path / "a.png", drawn("PNG"))
    (tmp_path / "a.png").write_bytes(b"something else")
    gone = source(tmp_path / "b.png", drawn("PNG"))
    (tmp_path / "b.png").unlink()
    text = source(tmp_path / "c.png", b"not a picture at all")
    vast = source(tmp_path / "d.bmp", b"BM", pixels=(20000, 20000))
    for file, why in ((changed, "has changed"), (gone, "cannot be read"), (text, "as a picture"), (vast, "smaller")):
        with pytest.raises(NotSent, match=why):
            await put_up("toapis", file)
    for file in (changed, gone):
        with pytest.raises(NotSent):
            await put_up("dashscope", file, recording("dashscope", "upload-policy"))


def policy(server: Server, **changes: Any) -> Reply:
    """The documented policy, with its store on the test's server."""
    body = dict(recording("dashscope", "upload-policy").body)
    body["data"] = body["data"] | {"upload_host": f"{server.url}/store"} | changes
    return Reply(200, body)


async def test_dashscope_gets_a_policy_and_puts_the_file_into_its_store_without_the_key(tmp_path: Path) -> None:
    data = b"\xff\xfb sound" * 50
    file = source(tmp_path / "desk.mp3", data, kind="audio")

    async def act(provider: Any, server: Server) -> Any:
        server.plan(policy(server), Reply(200, ""))
        return await provider.upload(file, "wan2.7-i2v"), server.asked

    url, (ask, put) = await talk("dashscope", act)
    assert (ask.method, ask.path) == ("GET", "/api/v1/uploads")
    assert ask.query == {"action": "getPolicy", "model": "wan2.7-i2v"}
    assert (put.method, put.path) == ("POST", "/store")
    assert KEY not in str(put.headers) + put.body.decode("latin-1")
    fields = re.findall(rb'; name="([^"]+)"', put.body)
    assert fields[-1] == b"file", "what comes after the file is not read"
    assert set(fields[:-1]) == {
        *(b"OSSAccessKeyId", b"Signature", b"policy", b"key"),
        *(b"x-oss-object-acl", b"x-oss-forbid-overwrite", b"success_action_status"),
    }
    assert data in put.body
    assert re.fullmatch(rf"oss://dashscope-instant/xxx/2024-07-18/xxx/{file.sha256[:16]}-[0-9a-f]{{8}}\.mp3", url)
    assert url.removeprefix("oss://").encode() in put.body


async def test_an_upload_is_for_one_model_and_made_once_for_it(tmp_path: Path) -> None:
    file = source(tmp_path / "desk.png", drawn("PNG"))

    async def act(provider: Any, server: Server) -> Any:
        server.plan(policy(server), Reply(204, ""), policy(server, signature="another"), Reply(200, ""))
        return [await provider.upload(file, model) for model in ("wan2.7-i2v", "wan2.7-r2v", "wan2.7-i2v")]

    first, second, again = await talk("dashscope", act)
    assert first == again != second


async def test_what_dashscopes_store_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    file = source(tmp_path / "desk.png", drawn("PNG"))

    async def act(provider: Any, server: Server) -> Any:
        server.plan(policy(server), recording("dashscope", "upload-store-refuses"))
        with pytest.raises(
            Rejected, match=r"AccessDenied: Invalid according to Policy: Policy expired \(request 5FC0\)"
        ):
            await provider.upload(file, "wan2.7-i2v")
        server.plan(recording("dashscope", "upload-policy-refused"))
        with pytest.raises(Rejected) as caught:
            await provider.upload(file, "wan2.7-i2v")
        assert caught.value.kind is ErrorClass.CREDENTIALS
        server.plan(policy(server, max_file_size_mb=0))
        with pytest.raises(Rejected, match=r"an upload for wan2\.7-i2v takes 0 MB"):
            await provider.upload(file, "wan2.7-i2v")
        server.plan(policy(server, upload_host="http://store.example"))
        with pytest.raises(MissedPoll, match=r"no file goes to http://store\.example"):
            await provider.upload(file, "wan2.7-i2v")

    await talk("dashscope", act)


async def test_a_result_is_made_once_while_it_lasts_and_a_failure_is_forgotten() -> None:
    made_so_far: list[int] = []
    once = Once(lifetime=0)

    async def make() -> str:
        made_so_far.append(1)
        if len(made_so_far) == 1:
            raise NotSent("no", kind=ErrorClass.FILE)
        return f"url {len(made_so_far)}"

    with pytest.raises(NotSent):
        await once.get("a", make)
    assert await once.get("a", make) == "url 2"
    assert await once.get("a", make) == "url 3", "a lifetime of nothing is over at once"
    lasting = Once()
    assert await lasting.get("a", make) == await lasting.get("a", make) == "url 4"
    await lasting.aclose()
