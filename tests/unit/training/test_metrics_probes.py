"""The probes' geometry follows the renderer, and the shipped probes read unseen faces."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from flashtalk.errors import InputError, WeightsError
from training.data.synthtalk.identity import draw_identity
from training.data.synthtalk.renderer import render
from training.data.synthtalk.tracks import TRACK_COLUMNS, TRACK_INDEX
from training.evaluate.canvas import CANVAS_PX, mouth_crops, to_canvas
from training.evaluate.lips import pearson
from training.evaluate.probe_data import draw_tracks, jittered, worn
from training.evaluate.probes import HEAD, MOUTH_OUTPUTS, POSE_OUTPUTS, Probes
from training.evaluate.quick import quick_lip_corr
from training.evaluate.regressor import Regressor, RegressorConfig
from training.evaluate.train_probe import ProbeRecipe, person_names

UNSEEN = 123_456


def still_tracks(count: int) -> np.ndarray:
    tracks = np.zeros((count, len(TRACK_COLUMNS)), np.float32)
    tracks[:, TRACK_INDEX["head_scale"]] = 1.0
    tracks[:, TRACK_INDEX["width"]] = 0.5
    return tracks


def talking(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    tracks = still_tracks(count)
    steps = rng.normal(size=(count, 3))
    tracks[:, TRACK_INDEX["openness"]] = np.clip(0.35 + 0.3 * steps[:, 0], 0, 1)
    tracks[:, TRACK_INDEX["head_x"]] = 0.02 * steps[:, 1]
    tracks[:, TRACK_INDEX["head_roll"]] = 0.04 * steps[:, 2]
    return tracks


@pytest.fixture(scope="module")
def shipped() -> Probes:
    return Probes.load()


def test_mouth_crop_stands_still_while_the_head_moves() -> None:
    tracks = still_tracks(40)
    rng = np.random.default_rng(0)
    for name, spread in (("head_x", 0.05), ("head_y", 0.02), ("head_roll", 0.1)):
        tracks[:, TRACK_INDEX[name]] = rng.uniform(-spread, spread, 40)
    tracks[:, TRACK_INDEX["head_scale"]] = rng.uniform(0.96, 1.04, 40)
    canvas = to_canvas(render(draw_identity(UNSEEN), tracks, (64, 64)))
    pose = torch.from_numpy(tracks[:, [TRACK_INDEX[name] for name in HEAD]])
    middle = (slice(None), slice(None), slice(8, 20), slice(6, 26))
    following = mouth_crops(canvas, pose)[middle].std(0).mean()
    fixed = mouth_crops(canvas, torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(40, 4))[middle]
    assert following < 0.35 * fixed.std(0).mean()


def test_mouth_crop_holds_the_whole_open_mouth() -> None:
    tracks = still_tracks(2)
    tracks[1, TRACK_INDEX["openness"]] = 1.0
    canvas = to_canvas(render(draw_identity(UNSEEN), tracks, (64, 64)))
    pose = torch.tensor([[0.0, 0.0, 0.0, 1.0]] * 2)
    moved = (canvas[1] - canvas[0]).abs().sum(0) > 0.3
    in_crop = mouth_crops(moved[None, None].float().expand(1, 3, -1, -1), pose[:1])[0, 0]
    edge = torch.cat([in_crop[0], in_crop[:, 0], in_crop[:, -1]])
    assert in_crop.sum() > 40
    assert edge.sum() < 0.02 * in_crop.sum()


@pytest.mark.parametrize("size_hw", [(128, 128), (96, 96), (80, 48), (48, 80)])
def test_canvas_shows_the_same_picture_at_every_size(size_hw: tuple[int, int]) -> None:
    tracks = talking(4)
    reference = to_canvas(render(draw_identity(UNSEEN), tracks, (64, 64)))
    other = to_canvas(render(draw_identity(UNSEEN), tracks, size_hw))
    assert other.shape == (4, 3, CANVAS_PX, CANVAS_PX)
    # The face in the middle must lie in the same place; hands and scenery follow the layout.
    face = (slice(None), slice(None), slice(16, 50), slice(20, 44))
    wrong_place = (reference[face] - torch.roll(reference, 3, dims=2)[face]).abs().mean()
    assert (other[face] - reference[face]).abs().mean() < 0.6 * wrong_place


def test_canvas_of_the_native_size_is_the_frame_itself() -> None:
    video = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    back = ((to_canvas(video) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    assert (back == video).all()


@pytest.mark.parametrize("shape", [(64, 64, 3), (2, 64, 64, 4)])
def test_canvas_refuses_what_is_no_video(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="video"):
        to_canvas(np.zeros(shape, np.uint8))
    with pytest.raises(InputError, match="float32"):
        to_canvas(np.zeros((2, 64, 64, 3), np.float32))


def test_wear_softens_half_of_the_batch_and_leaves_the_rest() -> None:
    clean = torch.from_numpy(np.random.default_rng(0).random((64, 3, 32, 32), np.float32))
    after = worn(clean, torch.Generator().manual_seed(0))
    untouched = (after == clean).flatten(1).all(1)
    assert 16 < int(untouched.sum()) < 48
    gradient = after[~untouched].diff(dim=3).abs().mean()
    assert gradient < 0.8 * clean.diff(dim=3).abs().mean()


def test_jitter_is_small_and_unbiased() -> None:
    pose = torch.zeros(4000, 4)
    moved = jittered(pose, torch.Generator().manual_seed(0))
    assert moved.mean(0).abs().max() < 0.003
    assert moved.std(0).max() < 0.04


def test_drawn_tracks_cover_closed_and_open_mouths() -> None:
    openness = draw_tracks(np.random.default_rng(0), 3000)[:, TRACK_INDEX["openness"]]
    assert 0.3 < (openness < 0.12).mean() < 0.5
    assert (openness > 0.8).mean() > 0.1


def test_regressor_learns_a_position() -> None:
    torch.manual_seed(0)
    config = RegressorConfig(("x", "y"), side_px=16, widths=(16, 16), hidden=32)
    net = Regressor(config)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    grid = torch.linspace(-1, 1, 16)

    def dots(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        centre = torch.rand(count, 2) * 1.4 - 0.7
        dx = grid[None, None, :] - centre[:, 0, None, None]
        dy = grid[None, :, None] - centre[:, 1, None, None]
        return torch.exp(-(dx**2 + dy**2) / 0.05)[:, None].expand(-1, 3, -1, -1), centre

    for _ in range(150):
        frames, centre = dots(64)
        loss = (net(frames) - centre).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    frames, centre = dots(200)
    with torch.no_grad():
        assert (net(frames) - centre).abs().mean() < 0.08


def test_regressor_names_bad_configurations() -> None:
    with pytest.raises(InputError, match="side_px"):
        RegressorConfig(("x",), side_px=20)
    with pytest.raises(InputError, match="widths"):
        RegressorConfig(("x",), widths=(12,))


def random_probes() -> Probes:
    torch.manual_seed(1)

    def small(outputs: tuple[str, ...], side_px: int) -> Regressor:
        config = RegressorConfig(outputs, side_px=side_px, widths=(8, 8), hidden=8)
        return Regressor(config).eval()

    return Probes(small(POSE_OUTPUTS, 64), small(MOUTH_OUTPUTS, 32), small(person_names(), 64))


def test_saved_probes_measure_the_same(tmp_path: Path) -> None:
    probes = random_probes()
    probes.pose.set_population(torch.full((12,), 0.3), torch.full((12,), 2.0))
    probes.save(tmp_path / "p.safetensors")
    video = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8)
    before, after = probes.measure(video), Probes.load(tmp_path / "p.safetensors").measure(video)
    for name in (*POSE_OUTPUTS, *MOUTH_OUTPUTS):
        np.testing.assert_allclose(after.tracks[name], before.tracks[name], atol=0.02)
    np.testing.assert_allclose(after.identity_TD, before.identity_TD, atol=0.02)


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="train_probe"):
        Probes.load(tmp_path / "none.safetensors")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(WeightsError, match="pose"):
        Probes.load(tmp_path / "foreign.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors", metadata={"pose": "{}"})
    with pytest.raises(WeightsError, match="pose: outputs: missing"):
        Probes.load(tmp_path / "other.safetensors")


def test_smoke_recipe_is_small() -> None:
    smoke, full = ProbeRecipe.smoke(), ProbeRecipe()
    assert smoke.steps * smoke.batch < full.steps * full.batch / 1000


def test_shipped_probes_read_an_unseen_face(shipped: Probes) -> None:
    tracks = np.concatenate([draw_tracks(np.random.default_rng(k), 24) for k in range(8)])
    video = np.concatenate(
        [
            render(draw_identity(UNSEEN + k), tracks[24 * k : 24 * k + 24], (64, 64))
            for k in range(8)
        ]
    )
    measured = shipped.measure(video)
    scores = {
        n: pearson(measured.tracks[n], tracks[:, TRACK_INDEX[n]]) for n in (*HEAD, "openness")
    }
    assert scores["openness"] > 0.95, scores
    assert min(scores.values()) > 0.9, scores


def test_shipped_probes_tell_people_apart(shipped: Probes) -> None:
    videos = [render(draw_identity(UNSEEN + k), talking(10, k), (64, 64)) for k in range(6)]
    means = np.stack([shipped.measure(video).identity_TD.mean(0) for video in videos])
    for person, video in enumerate(videos):
        frames = shipped.measure(video).identity_TD
        distance = ((frames[:, None] - means[None]) ** 2).mean(2)
        assert (distance.argmin(1) == person).mean() == 1.0


def test_quick_lip_corr_separates_truth_from_shuffled_blurred_and_frozen(shipped: Probes) -> None:
    tracks = talking(120)
    video = render(draw_identity(UNSEEN), tracks, (64, 64))
    assert quick_lip_corr(video, tracks, shipped) > 0.97
    assert quick_lip_corr(video, tracks[:, TRACK_INDEX["openness"]]) > 0.97
    order = np.random.default_rng(0).permutation(120)
    assert abs(quick_lip_corr(video, tracks[order], shipped)) < 0.25
    soft = gaussian_filter(video.astype(np.float32), (0, 0.8, 0.8, 0)).astype(np.uint8)
    assert quick_lip_corr(soft, tracks, shipped) > 0.93
    frozen = np.repeat(video[:1], 120, axis=0)
    assert abs(quick_lip_corr(frozen, tracks, shipped)) < 1e-6
    with pytest.raises(InputError, match="tracks"):
        quick_lip_corr(video, tracks[:-1], shipped)
