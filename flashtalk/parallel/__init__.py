"""Distributes models over several ranks; the only package that knows their number."""

from flashtalk.parallel.apply import Backend, apply, is_sliced
from flashtalk.parallel.grid import Grid, check_grid, choose_grid
from flashtalk.parallel.layout import Layout, check_layout, choose_layout, shard_tokens
from flashtalk.parallel.mesh import Mesh, join_mesh
from flashtalk.parallel.picture import PictureMesh, join_grid

__all__ = [
    "Backend",
    "Grid",
    "Layout",
    "Mesh",
    "PictureMesh",
    "apply",
    "check_grid",
    "check_layout",
    "choose_grid",
    "choose_layout",
    "is_sliced",
    "join_grid",
    "join_mesh",
    "shard_tokens",
]
