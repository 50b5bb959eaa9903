"""Optimizers of the recipes: AdamW, or Muon for the matrices with AdamW for the rest.

Muon replaces the momentum of a weight matrix by the nearest orthogonal matrix (five Newton-Schulz
steps; K. Jordan, 2024), so that every direction of the update has the same size. docs/vae.md has
the comparison with AdamW on the tiny VAE.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from training.core.config import OptimizerConfig
from training.core.native_bf16 import has_native_bf16
from training.core.sharding import full_tensor, shard_like

_QUINTIC = (3.4445, -4.7750, 2.0315)
_NEWTON_SCHULZ_STEPS = 5


def orthogonalised(update_RC: Tensor) -> Tensor:
    """Returns U V^T of the singular value decomposition, to about 20%; same shape, in bfloat16 or,
    if that is slower, in float32."""
    kind = torch.bfloat16 if has_native_bf16(update_RC.device) else torch.float32
    x = (update_RC / (update_RC.norm() + 1e-7)).to(kind)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    a, b, c = _QUINTIC
    for _ in range(_NEWTON_SCHULZ_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


class MuonAdamW(torch.optim.AdamW):
    """AdamW with orthogonalised momentum steps for the groups marked ``muon``.

    Convolution weights count as matrices of [out, in * taps].
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Applies one update to every group."""
        for group in self.param_groups:
            if group.get("muon"):
                for p in group["params"]:
                    if p.grad is not None:
                        self._muon(p, group)
        return super().step(closure)

    def create_states(self) -> None:
        """Creates the states of all parameters with a gradient, which is zero, as an update does.

        No weight changes, since the learning rate is zero; the gradients are removed.
        """
        for group in self.param_groups:
            group["lr"] = 0.0
        self.step()
        self.zero_grad(set_to_none=True)

    def _muon(self, p: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
            # AdamW expects it in every state that it loads.
            state["step"] = torch.zeros(())
        gradient = p.grad
        assert gradient is not None
        momentum: Tensor = state["momentum"]
        momentum.mul_(group["momentum"]).add_(gradient)
        nesterov = gradient + group["momentum"] * momentum
        # Orthogonalisation needs the whole matrix: every rank computes it from all shards.
        step = orthogonalised(full_tensor(nesterov).flatten(1))
        size = max(1.0, step.shape[0] / step.shape[1]) ** 0.5
        move = shard_like(step.view(p.shape).to(p.dtype), p)
        p.mul_(1.0 - group["lr"] * group["weight_decay"])
        p.add_(move, alpha=-group["lr"] * size)
        # AdamW skips parameters without a gradient.
        p.grad = None


def build_optimizer(config: OptimizerConfig, modules: Mapping[str, nn.Module]) -> MuonAdamW:
    """Returns the optimizer of a recipe for all trainable parameters.

    ``muon`` uses Muon for the matrices inside the submodules ``config.muon_inside``;
    first and last layers, whose scale matters, stay with AdamW.
    """
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    for module in modules.values():
        for name, p in module.named_parameters():
            if p.requires_grad:
                inside = not set(config.muon_inside).isdisjoint(name.split("."))
                hidden = config.name == "muon" and inside and p.ndim >= 2
                (matrices if hidden else others).append(p)
    groups: list[dict[str, Any]] = [{"params": others}]
    if matrices:
        scale = config.muon_lr / config.lr
        groups.append(
            {
                "params": matrices,
                "muon": True,
                "momentum": config.muon_momentum,
                "lr_scale": scale,
            }
        )
    first, second = config.betas
    return MuonAdamW(groups, lr=config.lr, betas=(first, second), weight_decay=config.weight_decay)
