"""Weight files: every kind is read alike, and anything wrong is one error that names the file."""

import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from flashtalk.errors import FlashTalkError, InputError, WeightsError
from flashtalk.models.checkpoint import load_state
from tests.fakes.published import write_shards

State = dict[str, Tensor]


@pytest.fixture
def state() -> State:
    return {
        "a.weight": torch.randn(3, 4),
        "a.bias": torch.randn(3).bfloat16(),
        "b": torch.arange(5),
        "c": torch.randn(()),
    }


def same(left: State, right: State) -> bool:
    return left.keys() == right.keys() and all(
        torch.equal(left[n], right[n]) and left[n].dtype == right[n].dtype for n in left
    )


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth", "x.pt", "x.bin"])
def test_every_kind_of_file_gives_the_same_state(state: State, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    assert same(load_state(path), state)


def test_the_form_before_zip_is_read_too(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    assert same(load_state(tmp_path / "old.bin"), state)


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_shards_come_together(state: State, shards: int, tmp_path: Path) -> None:
    write_shards(state, tmp_path, "diffusion_pytorch_model", shards)
    assert same(load_state(tmp_path), state)
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    assert same(load_state(index), state)


@pytest.mark.parametrize("name", ["model.safetensors", "anything.safetensors", "pytorch_model.bin"])
def test_a_folder_with_one_file(state: State, name: str, tmp_path: Path) -> None:
    if name.endswith("safetensors"):
        save_file(state, tmp_path / name)
    else:
        torch.save(state, tmp_path / name)
    (tmp_path / "config.json").write_text("{}")
    assert same(load_state(tmp_path), state)


def test_mapped_tensors_are_not_in_memory_twice(tmp_path: Path) -> None:
    state = {f"t{i}": torch.zeros(1 << 20) for i in range(32)}
    save_file(state, tmp_path / "x.safetensors")
    torch.save(state, tmp_path / "x.pth")
    del state
    for name in ("x.safetensors", "x.pth"):
        before = anonymous_bytes()
        mapped = load_state(tmp_path / name)
        assert sum(float(t.sum()) for t in mapped.values()) == 0
        assert anonymous_bytes() - before < 32 << 20, name


def anonymous_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    kib = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
    return kib << 10


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.pth"):
        load_state(tmp_path / "absent.pth")


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.npz").write_bytes(b"x")
    with pytest.raises(InputError, match=r"weights\.npz"):
        load_state(tmp_path / "weights.npz")


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth", "x.bin"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_named(state: State, name: str, kept: float, tmp_path: Path) -> None:
    path = tmp_path / name
    save_file(state, path) if name == "x.safetensors" else torch.save(state, path)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(WeightsError, match=name.replace(".", r"\.")):
        load_state(path)


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth"])
def test_noise_is_never_another_error(name: str, tmp_path: Path) -> None:
    path, source = tmp_path / name, random.Random(1)
    for length in range(0, 400, 8):
        path.write_bytes(source.randbytes(length))
        with pytest.raises(WeightsError, match=name.replace(".", r"\.")):
            load_state(path)


def test_pickled_objects_are_not_executed(tmp_path: Path) -> None:
    torch.save({"a": Path("x")}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"x\.pth"):
        load_state(tmp_path / "x.pth")


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {"state": {"a": torch.zeros(1)}}, {1: 2}])
def test_what_is_no_flat_state_dict_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match="flat state dict"):
        load_state(tmp_path / "x.pth")


def test_missing_shards_are_named(state: State, tmp_path: Path) -> None:
    write_shards(state, tmp_path, "m", 3)
    (tmp_path / "m-00002-of-00003.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"1 of 3 shards missing: m-00002-of-00003\.safetensors"):
        load_state(tmp_path)


def test_an_index_that_promises_too_much(state: State, tmp_path: Path) -> None:
    write_shards(state, tmp_path, "m", 2)
    index = tmp_path / "m.safetensors.index.json"
    values = json.loads(index.read_text())
    values["weight_map"]["ghost"] = "m-00001-of-00002.safetensors"
    index.write_text(json.dumps(values))
    with pytest.raises(WeightsError, match=r"m-00001-of-00002\.safetensors.*ghost"):
        load_state(tmp_path)


def test_a_name_in_two_shards(state: State, tmp_path: Path) -> None:
    write_shards(state, tmp_path, "m", 2)
    save_file(state, tmp_path / "m-00002-of-00002.safetensors")
    with pytest.raises(WeightsError, match=r"also in another shard"):
        load_state(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": 3}', '{"weight_map": [1]}'])
def test_a_broken_index_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "m.safetensors.index.json").write_text(content)
    with pytest.raises(WeightsError, match=r"m\.safetensors\.index\.json"):
        load_state(tmp_path)


def test_an_index_stays_in_its_folder(state: State, tmp_path: Path) -> None:
    save_file(state, tmp_path / "secret.safetensors")
    folder = tmp_path / "model"
    folder.mkdir()
    index = {"weight_map": dict.fromkeys(state, "../secret.safetensors")}
    (folder / "m.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match="outside the folder"):
        load_state(folder)


def test_a_folder_with_doubt_says_what_it_found(state: State, tmp_path: Path) -> None:
    with pytest.raises(FlashTalkError, match="found nothing"):
        load_state(tmp_path)
    save_file(state, tmp_path / "a.safetensors")
    save_file(state, tmp_path / "b.safetensors")
    with pytest.raises(WeightsError, match=r"a\.safetensors, b\.safetensors"):
        load_state(tmp_path)
