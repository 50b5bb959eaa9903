"""The video VAE of the ``tiny`` preset."""

from flashtalk.models.vae.config import VAEConfig
from training.core.config import Gate, MetricTarget, OptimizerConfig, ScheduleConfig, TrainerConfig
from training.recipes.registry import SMOKE
from training.tasks.vae import VaeRecipe


def tiny_vae() -> VaeRecipe:
    """Trains on 96x96 clips; for a time budget use ``--minutes`` and ``schedule.by=time``.

    docs/training.md describes the second run, which trains the decoder alone.
    """
    return VaeRecipe(
        trainer=TrainerConfig(
            ScheduleConfig(steps=6_000),
            OptimizerConfig("muon", lr=2e-3, muon_lr=0.03, betas=(0.9, 0.95), weight_decay=1e-4),
            gates=(Gate(step=300, metric="psnr_db", minimum=18.0),),
            targets=(
                MetricTarget("psnr_db", 32.0),
                MetricTarget("mouth_psnr_db", 28.0),
                MetricTarget("drift_20_db", 28.0),
            ),
        ),
        model=VAEConfig.tiny(),
        batch_frames=136,
        mse=64.0,
        gradient=0.25,
        mouth_weight=16.0,
        kl=1e-4,
        reencode=0.3,
        bf16=True,
    )


def smoke_vae() -> VaeRecipe:
    """The same path in seconds: a narrow network, three steps."""
    return VaeRecipe(
        trainer=SMOKE,
        model=VAEConfig(
            dim=8,
            dim_mult=(1, 1, 1),
            num_res_blocks=1,
            decoder_res_blocks=1,
            spatial_down=(True, False),
            temporal_down=(True, True),
            patch_size=4,
            linear_shortcuts=True,
            linear_bypass=True,
            latent_mean=(0.0,) * 16,
            latent_std=(1.0,) * 16,
        ),
        batch_frames=34,
        fit_clips=8,
        eval_clips=2,
        stats_clips=4,
        drift_rounds=2,
    )
