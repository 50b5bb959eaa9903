"""Pure tensor functions: attention, rotary embedding, norms."""

from flashtalk.ops.attention import AttentionCore, Backend, attention, available_backends
from flashtalk.ops.norms import gated_add, layer_norm, modulate, rms_norm
from flashtalk.ops.rope import RopeTable, apply_rope, rope_table

__all__ = [
    "AttentionCore",
    "Backend",
    "RopeTable",
    "apply_rope",
    "attention",
    "available_backends",
    "gated_add",
    "layer_norm",
    "modulate",
    "rms_norm",
    "rope_table",
]
