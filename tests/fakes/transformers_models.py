"""The classes of transformers that our encoders have to agree with: their yardstick."""

from transformers import CLIPVisionConfig, UMT5Config, Wav2Vec2Config

from flashtalk.models.clip import ClipConfig
from flashtalk.models.umt5 import TextConfig
from flashtalk.models.wav2vec2 import AudioConfig


def wav2vec2_config(config: AudioConfig) -> Wav2Vec2Config:
    """The same architecture for transformers; nothing random in evaluation."""
    return Wav2Vec2Config(
        conv_dim=config.conv_dim,
        conv_kernel=config.conv_kernel,
        conv_stride=config.conv_stride,
        conv_bias=config.conv_bias,
        feat_extract_norm=config.feat_extract_norm,
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        intermediate_size=config.intermediate_size,
        num_conv_pos_embeddings=config.num_conv_pos_embeddings,
        num_conv_pos_embedding_groups=config.num_conv_pos_embedding_groups,
        do_stable_layer_norm=config.do_stable_layer_norm,
        layer_norm_eps=config.layer_norm_eps,
        hidden_dropout=config.dropout,
        activation_dropout=config.dropout,
        attention_dropout=config.dropout,
        feat_proj_dropout=0.0,
        layerdrop=0.0,
        # No masked training here: with both at zero the mask embedding is not built.
        mask_time_prob=0.0,
        mask_feature_prob=0.0,
    )


def clip_config(config: ClipConfig) -> CLIPVisionConfig:
    """The same tower, without its last block, for transformers."""
    return CLIPVisionConfig(
        hidden_size=config.width,
        intermediate_size=config.mlp_ratio * config.width,
        num_hidden_layers=config.layers - 1,
        num_attention_heads=config.heads,
        image_size=config.image_size,
        patch_size=config.patch_size,
        hidden_act="gelu",
        layer_norm_eps=config.norm_eps,
    )


def umt5_config(config: TextConfig) -> UMT5Config:
    """The same encoder for transformers."""
    return UMT5Config(
        vocab_size=config.vocab,
        d_model=config.dim,
        d_kv=config.dim_attn // config.heads,
        d_ff=config.dim_ffn,
        num_layers=config.layers,
        num_heads=config.heads,
        relative_attention_num_buckets=config.buckets,
        dropout_rate=config.dropout,
        feed_forward_proj="gated-gelu",
    )
