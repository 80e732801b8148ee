"""Names the kinds of some bytes with Magika."""

from magika import Magika

known = Magika()
for data in (b"import os\nprint(1)\n" * 20, b"%PDF-1.4 ..." * 30, b"\x00\x01" * 400):
    found = known.identify_bytes(data)
    print(found.output.label, repr(found.score))
