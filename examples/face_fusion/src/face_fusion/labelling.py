"""The SYNTHETIC label of every output: in its pixels, and in the metadata of its file.

The metadata are the IPTC's digital source type in XMP, which programs read, and a plain
comment, which people read.
"""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np

import face_fusion
from face_fusion.geometry import Picture

WORD = "SYNTHETIC"
COMMENT = "SYNTHETIC: this picture was made by swapping a face. It shows no event that happened."
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # XMP specification part 3
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\x00"


def label(picture: Picture) -> Picture:
    """The picture with SYNTHETIC in its lower left corner, white on dark, a quarter as wide."""
    height, width = picture.shape[:2]
    (unit, tall), _ = cv2.getTextSize(WORD, _FONT, 1.0, 2)
    wanted = min(max(width * 0.25, 56.0), width * 0.9)
    scale = min(wanted / unit, height * 0.3 / tall)
    thickness = max(1, round(scale * 2))
    (text_width, text_height), baseline = cv2.getTextSize(WORD, _FONT, scale, thickness)
    pad = max(2, text_height // 2)
    top = max(0, height - text_height - baseline - 2 * pad)
    right = min(width, text_width + 2 * pad)
    marked = picture.copy()
    box = marked[top:, :right].astype(np.float32) * 0.25
    marked[top:, :right] = box.astype(np.uint8)
    origin = (pad, height - pad - baseline)
    white = (255, 255, 255)
    cv2.putText(marked, WORD, origin, _FONT, scale, white, thickness, cv2.LINE_AA)
    return marked


def xmp() -> bytes:
    """The XMP packet that says what the picture is."""
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmp:CreatorTool="face-fusion {face_fusion.__version__}"
 Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"><dc:description><rdf:Alt>
<rdf:li xml:lang="x-default">{COMMENT}</rdf:li></rdf:Alt></dc:description></rdf:Description>
</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>""".encode()


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def label_png(data: bytes) -> bytes:
    """A PNG file with the label in tEXt and iTXt chunks behind its header."""
    chunks = [
        _png_chunk(b"tEXt", b"Comment\x00" + COMMENT.encode("latin-1")),
        _png_chunk(b"tEXt", b"Source\x00" + WORD.encode("latin-1")),
        _png_chunk(b"tEXt", b"Software\x00face-fusion " + face_fusion.__version__.encode()),
        _png_chunk(b"iTXt", b"XML:com.adobe.xmp\x00\x00\x00\x00\x00" + xmp()),
    ]
    header = 8 + 25  # signature and IHDR
    return data[:header] + b"".join(chunks) + data[header:]


def label_jpeg(data: bytes) -> bytes:
    """A JPEG file with the label as XMP (APP1) and as a comment (COM) behind its APP0."""
    at = 2
    if data[2:4] == b"\xff\xe0":
        at += 2 + int.from_bytes(data[4:6], "big")
    segments = b""
    for marker, body in ((b"\xff\xe1", _JPEG_XMP + xmp()), (b"\xff\xfe", COMMENT.encode())):
        segments += marker + struct.pack(">H", len(body) + 2) + body
    return data[:at] + segments + data[at:]


def mp4_label() -> bytes:
    """A box with the label, to be appended to an MP4 or QuickTime file."""
    body = _XMP_UUID + xmp()
    return struct.pack(">I", len(body) + 8) + b"uuid" + body
