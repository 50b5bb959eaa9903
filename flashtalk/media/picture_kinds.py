"""Recognises files that users pass as pictures but that cannot be read, with advice for each."""

from __future__ import annotations

HEAD_BYTES = 64

_SAVE = "save it as JPEG or PNG"
_HEIC = (
    "a HEIC picture, as phones take them, which cannot be read here; "
    f"{_SAVE} (sips -s format jpeg on a Mac, heif-convert elsewhere)"
)
_VIDEO = "a video; take a still picture of it (ffmpeg -i FILE -frames:v 1 portrait.png)"
_DRAWING = f"and no photograph; {_SAVE}"
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_CAMERA_BRANDS = (b"crx ",)
_STARTS = {
    b"\xff\x0a": f"a JPEG XL picture, which cannot be read here; {_SAVE}",
    b"\0\0\0\x0cJXL ": f"a JPEG XL picture, which cannot be read here; {_SAVE}",
    b"%PDF": f"a PDF document {_DRAWING}",
    b"%!PS": f"a PostScript document {_DRAWING}",
    b"\xc5\xd0\xd3\xc6": f"a PostScript document {_DRAWING}",
    b"<svg": f"an SVG drawing {_DRAWING}",
    b"<?xml": f"an XML document {_DRAWING}",
    b"<!DOCTYPE": "a web page; save the picture that it shows",
    b"<!doctype": "a web page; save the picture that it shows",
    b"<html": "a web page; save the picture that it shows",
    b"\x1a\x45\xdf\xa3": _VIDEO,
}


def foreign_kind(head: bytes, *, avif: bool) -> str | None:
    """Returns the format of an unsupported file, and advice.

    Args:
        head: its first ``HEAD_BYTES`` bytes.
        avif: whether AVIF is supported.

    Returns:
        None for anything else.
    """
    for start, kind in _STARTS.items():
        if head.startswith(start):
            return kind
    if head[4:8] != b"ftyp":
        return None
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))]
    if any(brand in _AVIF_BRANDS for brand in brands):
        return None if avif else f"an AVIF picture, which cannot be read here; {_SAVE}"
    if any(brand in _HEIC_BRANDS for brand in brands):
        return _HEIC
    if brands[0] in _CAMERA_BRANDS:
        return f"a camera's raw picture; {_SAVE}"
    return _VIDEO
