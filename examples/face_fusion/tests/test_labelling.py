"""Every output says SYNTHETIC, to people and to programs."""

from __future__ import annotations

import struct
import zlib
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from face_fusion import files, labelling

DIGITAL_SOURCE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
DESCRIPTION = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"


def source_type(packet: bytes) -> str:
    """What an XMP packet says about the origin of a picture."""
    root = ElementTree.fromstring(packet.decode("utf-8").strip("\0"))
    return next(root.iter(DESCRIPTION)).attrib[DIGITAL_SOURCE]


def _noise(height, width):
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and content of every chunk; each has its right checksum."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = [], 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(
            kind + body
        )
        found.append((kind, body))
        at += 12 + length
    return found


@given(st.integers(64, 500), st.integers(64, 500))
@settings(max_examples=25, deadline=None)
def test_the_label_fits_pictures_of_any_size(height, width):
    """White letters on dark in the lower left; the rest of the picture and the input unchanged."""
    picture = _noise(height, width)
    before = picture.copy()
    marked = labelling.label(picture)
    assert np.array_equal(picture, before)
    assert marked.shape == picture.shape
    changed = np.argwhere((marked != picture).any(axis=2))
    assert changed[:, 0].min() > height * 0.3
    assert changed[:, 1].min() < 3
    box = marked[changed[:, 0].min() :, : changed[:, 1].max() + 1]
    assert (box.min(axis=2) > 160).any()  # letters
    assert (box.max(axis=2) < 70).mean() > 0.3  # ground


def test_the_label_can_be_read():
    """The letters drawn are those of the word: more of them are found than in any other word."""
    marked = labelling.label(np.full((600, 512, 3), 127, dtype=np.uint8))
    letters = (marked.min(axis=2) > 150).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(letters)
    tall = stats[1:count, cv2.CC_STAT_HEIGHT]
    assert (tall > 0.7 * tall.max()).sum() == len("SYNTHETIC")
    assert tall.max() >= 12


def test_png_files_carry_the_label():
    """A comment for people, the IPTC's source type for programs; the pixels unchanged."""
    picture = _noise(40, 50)
    data = files.encode_picture(picture, ".png")
    assert np.array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), picture)
    chunks = png_chunks(data)
    assert chunks[0][0] == b"IHDR"
    assert chunks[-1] == (b"IEND", b"")
    assert (b"tEXt", b"Source\0SYNTHETIC") in chunks
    assert any(kind == b"tEXt" and body.startswith(b"Comment\0SYNTHETIC") for kind, body in chunks)
    packet = next(body for kind, body in chunks if kind == b"iTXt")
    assert packet.startswith(b"XML:com.adobe.xmp\0")
    assert source_type(packet.partition(b"\0")[2]) == labelling.SOURCE_TYPE


def test_jpeg_files_carry_the_label():
    """As XMP in APP1 and as a comment; the file stays a JPEG file."""
    data = files.encode_picture(_noise(40, 50), ".jpg")
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (40, 50, 3)
    segments, at = {}, 2
    while data[at + 1] != 0xDA:
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        segments[data[at + 1]] = data[at + 4 : at + 2 + length]
        at += 2 + length
    assert segments[0xFE].startswith(b"SYNTHETIC")
    head, _, packet = segments[0xE1].partition(b"\0")
    assert head == b"http://ns.adobe.com/xap/1.0/"
    assert source_type(packet) == labelling.SOURCE_TYPE


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_encoding_is_the_same_every_time(suffix):
    """No time stamp, no random number."""
    picture = _noise(30, 30)
    assert files.encode_picture(picture, suffix) == files.encode_picture(picture, suffix)


def test_the_public_names_are_what_they_say():
    """Also after their modules were imported."""
    import face_fusion

    assert face_fusion.label is labelling.label
    for name in face_fusion.__all__:
        assert callable(getattr(face_fusion, name))
    with pytest.raises(AttributeError):
        face_fusion.nothing  # noqa: B018
