"""Recognises files that users pass as pictures but that cannot be read, with advice for each."""

from __future__ import annotations

HEAD_BYTES = 64

_SAVE = "save it as JPEG or PNG"
_HEIC = f"HEIC is not supported; {_SAVE} (sips -s format jpeg on a Mac, heif-convert elsewhere)"
_VIDEO = "this is a video; extract a frame (ffmpeg -i FILE -frames:v 1 portrait.png)"
_DRAWING = f"is not supported; {_SAVE}"
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_CAMERA_BRANDS = (b"crx ",)
_STARTS = {
    b"\xff\x0a": f"JPEG XL is not supported; {_SAVE}",
    b"\0\0\0\x0cJXL ": f"JPEG XL is not supported; {_SAVE}",
    b"%PDF": f"PDF {_DRAWING}",
    b"%!PS": f"PostScript {_DRAWING}",
    b"\xc5\xd0\xd3\xc6": f"PostScript {_DRAWING}",
    b"<svg": f"SVG {_DRAWING}",
    b"<?xml": f"XML {_DRAWING}",
    b"<!DOCTYPE": "this is a web page; save the picture that it shows",
    b"<!doctype": "this is a web page; save the picture that it shows",
    b"<html": "this is a web page; save the picture that it shows",
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
        return None if avif else f"AVIF is not supported; {_SAVE}"
    if any(brand in _HEIC_BRANDS for brand in brands):
        return _HEIC
    if brands[0] in _CAMERA_BRANDS:
        return f"raw camera files are not supported; {_SAVE}"
    return _VIDEO
