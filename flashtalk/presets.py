"""Names of presets and precisions, for checks without importing torch."""

TINY, PUBLISHED = "tiny", "flashtalk-14b"
FLASHHEAD, FLASHHEAD_LITE = "flashhead-1.3b", "flashhead-1.3b-lite"
PRESETS = (TINY, PUBLISHED, FLASHHEAD, FLASHHEAD_LITE)
PRESET_HELP = f"{TINY} (default), {', '.join(PRESETS[1:])}"
WITHOUT_PROMPT = (FLASHHEAD, FLASHHEAD_LITE)
"""Presets whose only conditions are the portrait and the speech."""
WHOLE_VAE = (FLASHHEAD_LITE,)
"""Presets whose VAE runs on one rank only: the LTX VAE has no parallel form."""
_FLASHHEAD_ORIGIN = (
    "huggingface.co/Soul-AILab/SoulX-FlashHead-1_3B and huggingface.co/facebook/wav2vec2-base-960h"
)
ORIGINS = {FLASHHEAD: _FLASHHEAD_ORIGIN, FLASHHEAD_LITE: _FLASHHEAD_ORIGIN}
"""Where the files of a preset come from, for errors about missing ones."""
LICENCE_NOTES = {
    FLASHHEAD_LITE: (
        "read the licence of the LTX VAE's weights before use: of the first release a maintainer "
        "wrote that it is RAIL-M, for research and academic use"
    )
}
"""What to know about the licence of a preset's weights; for doctor. Nothing of them is shipped."""
FOLDERS = {
    FLASHHEAD: "with Model_Pro, VAE_Wan and wav2vec2-base-960h",
    FLASHHEAD_LITE: "with Model_Lite, VAE_LTX and wav2vec2-base-960h",
}


def needs_folder(preset: str) -> str:
    """Returns what an error says about a preset without a usable folder."""
    contents = f" {FOLDERS[preset]}" if preset in FOLDERS else ""
    origin = f", from {ORIGINS[preset]}" if preset in ORIGINS else ""
    return f"{preset} needs the folder of its checkpoint{contents}{origin}"


def no_prompt_limit(preset: str) -> str:
    """Returns the limit in the error of a prompt for a network without text."""
    return f"none: {preset} has no text encoder; portrait and speech are its only conditions"


PRECISIONS = ("float32", "bfloat16", "float8")
