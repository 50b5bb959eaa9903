"""The types of arrays that rooms hand to each other: one name each, which states dtype and meaning.
Shapes are in the axes of a variable's name.

Legend: T video frames, H W pixels, S samples.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Pcm: TypeAlias = npt.NDArray[np.float32]
"""float32 [S]: samples of mono sound in [-1, 1]."""

Rgb: TypeAlias = npt.NDArray[np.uint8]
"""uint8 [H, W, 3]: one picture in sRGB, 0 to 255."""

Frames: TypeAlias = npt.NDArray[np.uint8]
"""uint8 [T, H, W, 3]: pictures of a video in sRGB, 0 to 255."""

FloatArray: TypeAlias = npt.NDArray[np.float32]
"""float32, any shape: latents, features, tracks; the unit is that of the variable."""

DoubleArray: TypeAlias = npt.NDArray[np.float64]
"""float64, any shape: what is summed or measured more finely than it is kept."""

RealArray: TypeAlias = npt.NDArray[np.floating]
"""Any floating type, any shape: for readers that do not mind which."""

IntArray: TypeAlias = npt.NDArray[np.int64]
"""int64, any shape: numbers of rows, frames, videos or classes."""

BoolArray: TypeAlias = npt.NDArray[np.bool_]
"""bool, any shape: masks of pixels, flags of frames or rows."""

AnyArray: TypeAlias = npt.NDArray[np.generic]
"""Any dtype, any shape: what is stored and digested as it comes."""

NamedArrays: TypeAlias = dict[str, npt.NDArray[Any]]
"""Arrays of a file or store by their names; any dtypes and shapes."""
