"""Tokens of files, by kind, size and model generation; headers are built here by hand."""

import base64
import struct
import zlib
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keypool_cli.core.estimator import estimate_request
from keypool_cli.core.media_headers import audio_seconds, image_size, pdf_pages, video_seconds
from keypool_cli.core.media_tokens import Media, generation_of, media_tokens

V2, V3 = (2, 5), (3, 0)


def b64(data):
    return base64.b64encode(data).decode()


def png(width, height):
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\x06\0\0\0"


def gif(width, height):
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0"


def jpeg(width, height):
    exif = b"\xff\xe1" + struct.pack(">H", 5000) + bytes(4998)
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\1\x11\0"
    return b"\xff\xd8" + exif + frame + b"\xff\xd9"


def webp(kind, payload):
    return b"RIFF" + struct.pack("<I", 4) + b"WEBP" + kind + struct.pack("<I", 20) + payload


WEBP_VP8 = webp(b"VP8 ", b"\x30\1\0\x9d\x01\x2a" + struct.pack("<HH", 640, 480) + bytes(8))
WEBP_VP8L = webp(b"VP8L", b"\x2f" + struct.pack("<I", (480 - 1) << 14 | (640 - 1)) + bytes(8))
WEBP_VP8X = webp(
    b"VP8X", bytes(4) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little") + bytes(4)
)


def wav(seconds):
    rate = 16_000
    header = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, rate, rate * 2, 2, 16)
    return header + b"data\0\0\0\0" + bytes(rate * 2 * seconds)


def mp4(seconds, version=0):
    if version:
        times = struct.pack(">QQIQ", 0, 0, 600, seconds * 600)
    else:
        times = struct.pack(">IIII", 0, 0, 600, seconds * 600)
    return b"\0\0\0\x18ftypmp42" + b"\0\0\0\x6cmvhd" + bytes([version, 0, 0, 0]) + times + bytes(80)


def flac(seconds):
    packed = (44_100 << 44) | (44_100 * seconds)
    return b"fLaC\0\0\0\x22" + bytes(10) + packed.to_bytes(8, "big") + bytes(16)


def ogg_opus(seconds):
    first = b"OggS\0\2" + bytes(20) + b"\1\x13OpusHead" + bytes(11)
    return first + b"OggS\0\4" + struct.pack("<Q", 48_000 * seconds) + bytes(14)


def ogg_vorbis(seconds):
    first = (
        b"OggS\0\2" + bytes(20) + b"\1\x1e\1vorbis" + struct.pack("<IBI", 0, 1, 44_100) + bytes(9)
    )
    return first + b"OggS\0\4" + struct.pack("<Q", 44_100 * seconds) + bytes(14)


def mp3(seconds):
    return b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + b"\xff\xfb\x90\x00" + bytes(16_000 * seconds - 4)


def pdf(pages):
    objects = b"".join(b"%d 0 obj <</Type /Page /Parent 1 0 R>> endobj\n" % n for n in range(pages))
    return b"%PDF-1.7\n1 0 obj <</Type /Pages /Count " + str(pages).encode() + b">>\n" + objects


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(png(640, 480), id="png"),
        pytest.param(gif(640, 480), id="gif"),
        pytest.param(jpeg(640, 480), id="jpeg behind its exif"),
        pytest.param(WEBP_VP8, id="webp lossy"),
        pytest.param(WEBP_VP8L, id="webp lossless"),
        pytest.param(WEBP_VP8X, id="webp extended"),
    ],
)
def test_the_size_of_an_image_is_read_from_its_header(data):
    assert image_size(data) == (640, 480)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"BM" + bytes(60), id="another format"),
        pytest.param(webp(b"ALPH", bytes(20)), id="webp of an unknown kind"),
        pytest.param(b"\xff\xd8\xff\xff\xda" + bytes(40), id="jpeg without a frame"),
    ],
)
def test_an_image_of_unknown_size_counts_as_one_tile(data):
    assert image_size(data) is None
    assert media_tokens(Media("image/x", b64(data)), generation=V2).tokens == 258


@pytest.mark.parametrize(("resolution", "tokens"), [("low", 66), ("medium", 258), ("high", 1032)])
def test_the_resolution_bounds_an_image_before_gemini_3(resolution, tokens):
    image = Media("image/png", b64(png(1024, 1024)), resolution)
    assert media_tokens(image, generation=V2).tokens == tokens


@pytest.mark.parametrize(
    ("size", "tokens"),
    [
        pytest.param((384, 384), 258, id="both sides small: one tile"),
        pytest.param((385, 100), 258, id="within one tile"),
        pytest.param((768, 769), 516, id="one pixel more is a second tile"),
        pytest.param((1024, 1024), 1032, id="two by two"),
        pytest.param((100_000, 100_000), 16 * 258, id="large pictures are scaled down first"),
    ],
)
def test_images_before_gemini_3_cost_258_tokens_a_tile(size, tokens):
    image = Media("image/png", b64(png(*size)))
    assert media_tokens(image, generation=V2).tokens == tokens


@pytest.mark.parametrize(
    ("size", "reserved"),
    [
        pytest.param((384, 384), 1, id="both sides small: one tile by either rule"),
        pytest.param((385, 100), 2, id="no tile is smaller than 256 px"),
        pytest.param((960, 540), 6, id="the docs' own example"),
        pytest.param((1024, 1024), 4, id="both rules agree"),
        pytest.param((100_000, 100_000), 16, id="large pictures are scaled down first"),
    ],
)
def test_tiles_by_the_rough_formula_of_the_docs_are_reserved(size, reserved):
    counted = media_tokens(Media("image/png", b64(png(*size))), generation=V2)
    assert counted.tokens + counted.margin == reserved * 258


@pytest.mark.parametrize("data", [None, b64(b"BM" + bytes(60))])
def test_a_picture_of_unknown_size_reserves_what_photographs_take(data):
    assert media_tokens(Media("image/jpeg", data), generation=V2).margin == 5 * 258
    assert media_tokens(Media("image/jpeg", data, "low"), generation=V2).margin == 0


@pytest.mark.parametrize(
    ("resolution", "tokens"),
    [(None, 1120), ("low", 280), ("medium", 560), ("high", 1120), ("ultra_high", 2240)],
)
def test_images_of_gemini_3_cost_what_their_resolution_says(resolution, tokens):
    image = Media("image/png", b64(png(100, 100)), resolution)
    assert media_tokens(image, generation=V3).tokens == tokens


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(wav(7), id="wav"),
        pytest.param(flac(7), id="flac"),
        pytest.param(ogg_opus(7), id="ogg opus"),
        pytest.param(ogg_vorbis(7), id="ogg vorbis"),
        pytest.param(mp3(7), id="mp3"),
        pytest.param(mp4(7), id="m4a"),
    ],
)
def test_audio_costs_32_tokens_a_second(data):
    assert audio_seconds(data) == pytest.approx(7, rel=0.01)
    counted = media_tokens(Media("audio/x", b64(data)), generation=V3)
    assert (counted.tokens, counted.margin) == (7 * 32, 0)


@pytest.mark.parametrize("version", [0, 1])
def test_video_costs_its_frames_and_its_sound(version):
    clip = Media("video/mp4", b64(mp4(10, version)))
    assert video_seconds(mp4(10, version)) == 10
    assert media_tokens(clip, generation=V2).tokens == 10 * (263 + 32)
    assert media_tokens(clip, generation=V3).tokens == 10 * (70 + 32)


def test_a_low_resolution_video_costs_about_100_tokens_a_second():
    clip = Media("video/mp4", b64(mp4(10)), "low")
    assert media_tokens(clip, generation=V2).tokens == pytest.approx(1000, rel=0.03)


def test_more_frames_a_second_cost_more():
    clip = Media("video/mp4", b64(mp4(10)), fps=2.0)
    assert media_tokens(clip, generation=V3).tokens == 10 * (140 + 32)


def test_a_pdf_costs_258_tokens_a_page_before_gemini_3():
    document = Media("application/pdf", b64(pdf(5)))
    assert pdf_pages(pdf(5)) == 5
    assert media_tokens(document, generation=V2).tokens == 1290
    assert media_tokens(document, generation=V3).tokens == 5 * 560


def test_a_pdf_with_compressed_pages_counts_what_its_tree_says():
    assert pdf_pages(b"%PDF-1.7\n1 0 obj <</Type /Pages /Count 12>> endobj\n") == 12
    assert pdf_pages(b"%PDF-1.7\n") is None


def packed_pdf(pages, newline=b"\r\n"):
    objects = zlib.compress(b"<</Type/Page/Parent 1 0 R>>" * pages + b"<</Type/Pages/Count 2>>")
    head = b"%PDF-1.5\n5 0 obj <</Type /ObjStm/Filter/FlateDecode>>\nstream"
    return head + newline + objects + b"\nendstream endobj"


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_pages_in_compressed_objects_are_counted(newline):
    assert pdf_pages(packed_pdf(300, newline)) == 300


def test_a_pdf_that_unpacks_to_gigabytes_is_read_in_part():
    objects = zlib.compress(b" " * 64 * 1024 * 1024 + b"<</Type/Page>>")
    bomb = b"<</Type/ObjStm>>stream\n" + objects + b"\nendstream"
    assert pdf_pages(bomb * 3) is None


def test_a_pdf_that_names_many_streams_and_has_one_is_read_once():
    before = process_time()
    assert pdf_pages(b"<</Type/ObjStm>> " * 100_000 + b"stream\nnot packed\nendstream") is None
    assert process_time() - before < 5  # once for each took two minutes


def test_pages_are_counted_behind_objects_that_cannot_be_unpacked():
    encrypted = b"<</Type/ObjStm>>stream\n" + bytes(range(256)) + b"\nendstream endobj\n"
    assert pdf_pages(encrypted + packed_pdf(3) + encrypted + packed_pdf(4)) == 7


def test_a_pdf_whose_objects_are_encrypted_has_as_many_pages_as_its_length_says():
    assert pdf_pages(b"<</Type/ObjStm>>stream\n" + bytes(range(256)) + b"\nendstream") is None


def test_a_recording_of_variable_rate_says_its_frames():
    head = b"\xff\xfb\xe4\x00" + bytes(32) + b"Xing\0\0\0\x0f" + struct.pack(">I", 2300)
    assert audio_seconds(head + bytes(1000)) == pytest.approx(2300 * 1152 / 48_000)


def test_speech_of_a_low_rate_is_timed():
    assert audio_seconds(b"\xff\xf3\x40\xc0" + bytes(39_996)) == 40_000 / 4_000


@pytest.mark.parametrize(("length", "code"), [(b"\x84", ">f"), (b"\x88", ">d")])
def test_a_webm_says_its_duration(length, code):
    data = b"\x1a\x45\xdf\xa3" + bytes(40) + b"\x44\x89" + length + struct.pack(code, 90_500.0)
    assert video_seconds(data) == audio_seconds(data) == 90.5


@pytest.mark.parametrize("mime_type", ["audio/mp3", "video/mp4", "application/pdf"])
def test_a_guessed_size_is_reserved_twice(mime_type):
    for data in (None, b64(bytes(400_000))):
        counted = media_tokens(Media(mime_type, data), generation=V2)
        assert counted.margin == counted.tokens > 0


@pytest.mark.parametrize(
    ("model", "generation"),
    [
        ("gemini-2.5-flash", (2, 5)),
        ("models/gemini-1.5-pro-002", (1, 5)),
        ("gemini-3-pro-preview", (3, 0)),
        ("gemini-flash-latest", (3, 0)),
    ],
)
def test_the_generation_is_read_from_the_model(model, generation):
    assert generation_of(model) == generation


IMAGE = {"inlineData": {"mimeType": "image/png", "data": b64(png(1024, 1024))}}


@pytest.mark.parametrize(
    ("part", "model", "tokens"),
    [
        pytest.param(IMAGE, "gemini-2.5-flash", 1032, id="inline image"),
        pytest.param(
            {"inline_data": {"mime_type": "image/png", "data": b64(png(9, 9))}},
            "gemini-2.5-flash",
            258,
            id="snake_case",
        ),
        pytest.param(
            {**IMAGE, "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"}},
            "gemini-3-pro",
            280,
            id="resolution of the part",
        ),
        pytest.param(
            {"fileData": {"mimeType": "image/png", "fileUri": "files/a"}},
            "gemini-2.5-flash",
            258,
            id="file of unknown size",
        ),
        pytest.param(
            {
                "fileData": {"fileUri": "https://video.example/v"},
                "videoMetadata": {"startOffset": "5s", "endOffset": "15s"},
            },
            "gemini-3-pro",
            10 * (70 + 32),
            id="a clip of a video",
        ),
        pytest.param(
            {"type": "image_url", "image_url": {"url": "data:image/png;base64," + b64(png(9, 9))}},
            "gemini-2.5-flash",
            258,
            id="chat completions",
        ),
        pytest.param(
            {"type": "image_url", "image_url": "https://pictures.example/a.png"},
            "gemini-2.5-flash",
            258,
            id="chat completions, a picture elsewhere",
        ),
        pytest.param(
            {"type": "input_audio", "input_audio": {"data": b64(wav(3)), "format": "wav"}},
            "gemini-2.5-flash",
            96,
            id="chat completions audio",
        ),
        pytest.param(
            {"type": "image", "data": b64(png(9, 9)), "mime_type": "image/png"},
            "gemini-2.5-flash",
            258,
            id="interactions",
        ),
        pytest.param(
            {"functionResponse": {"name": "shot", "response": {"ok": 1}, "parts": [IMAGE]}},
            "gemini-3-pro",
            1120,
            id="what a function answered",
        ),
        pytest.param(
            {
                "type": "function_result",
                "result": [{"type": "image", "data": b64(png(9, 9)), "mime_type": "image/png"}],
            },
            "gemini-2.5-flash",
            258,
            id="what a function of interactions answered",
        ),
        pytest.param(
            {"type": "file", "file": {"file_data": "data:application/pdf;base64," + b64(pdf(7))}},
            "gemini-2.5-flash",
            7 * 258,
            id="chat completions, a document",
        ),
    ],
)
def test_media_is_found_in_every_form_of_part(part, model, tokens):
    body = {"contents": [{"parts": [part]}]}
    assert estimate_request(body, model=model).parts["media"] == tokens


@pytest.mark.parametrize(
    ("said", "tokens"),
    [
        pytest.param("MEDIA_RESOLUTION_ULTRA_HIGH", 2240, id="a name"),
        pytest.param("media-resolution-low", 280, id="a name in another case"),
        pytest.param(2, 560, id="a number"),
        pytest.param(2.0, 560, id="a number with a point"),
        pytest.param("4", 2240, id="a number as text"),
        pytest.param(0, 1120, id="the number of no level"),
        pytest.param(10**5000, 1120, id="a number that is none"),
        pytest.param([2], 1120, id="no level at all"),
    ],
)
def test_a_resolution_is_read_as_protobufs_json_has_it(said, tokens):
    for held in ({"mediaResolution": {"level": said}}, {"media_resolution": said}):
        body = {"contents": [{"parts": [{**IMAGE, **held}]}]}
        assert estimate_request(body, model="gemini-3-pro").parts["media"] == tokens


def test_the_resolution_of_the_request_holds_for_its_files():
    body = {
        "contents": [{"parts": [IMAGE]}],
        "generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_MEDIUM"},
    }
    assert estimate_request(body, model="gemini-3-pro").parts["media"] == 560


HEADS = [b"", png(1, 1), gif(1, 1), jpeg(1, 1), WEBP_VP8L, wav(0), mp4(1), flac(0), mp3(1), b"OggS"]


@given(st.sampled_from(HEADS), st.binary(max_size=80), st.sampled_from(["image", "audio", "video"]))
def test_no_bytes_make_the_count_fail(head, tail, kind):
    counted = media_tokens(Media(f"{kind}/x", b64(head + tail)), generation=V2)
    assert counted.tokens >= 0


@given(st.text(max_size=60), st.sampled_from(["image/png", "application/pdf", "audio/wav"]))
def test_no_base64_makes_the_count_fail(data, mime_type):
    assert media_tokens(Media(mime_type, data), generation=V2).tokens >= 0
