"""Text contexts against the published encoder's own numbers, cleaning, tokens, names."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from sentencepiece import SentencePieceTrainer
from torch import Tensor, nn
from transformers import UMT5EncoderModel

from flashtalk.errors import InputError, WeightsError
from flashtalk.models.checkpoint import save_config
from flashtalk.models.umt5 import (
    TextConfig,
    TextEncoder,
    Tokenizer,
    clean_text,
    load_tokenizer,
    train_tokenizer,
)
from flashtalk.models.umt5.model import trim
from flashtalk.models.umt5.weights import (
    convert_published,
    load_config,
    published_shapes,
    to_published,
)
from tests.fakes.transformers_models import umt5_config
from tests.tolerances import BFLOAT16_STEP, PUBLISHED, assert_rounded

GOLDENS = Path(__file__).parents[2] / "goldens"
NOTES = json.loads((GOLDENS / "umt5_tiny.json").read_text())
SENTENCES = [
    "A person is talking to the camera.",
    "A woman with red hair talks, smiling.",
    "Un homme parle; 一个人在说话。",
] * 20

Golden = dict[str, Tensor]


@pytest.fixture(scope="module")
def golden() -> Golden:
    return load_file(GOLDENS / "umt5_tiny.safetensors")


@pytest.fixture(scope="module")
def encoder(golden: Golden) -> TextEncoder:
    values = NOTES["config"]
    config = TextConfig(
        vocab=values["vocab"],
        dim=values["dim"],
        dim_attn=values["dim_attn"],
        dim_ffn=values["dim_ffn"],
        heads=values["num_heads"],
        layers=values["num_layers"],
        buckets=values["num_buckets"],
    )
    state = {k.removeprefix("state."): v for k, v in golden.items() if k.startswith("state.")}
    model = TextEncoder(config).eval().requires_grad_(False)
    model.load_state_dict(convert_published(state), strict=True)
    return model


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file: Path = tmp_path_factory.mktemp("tokens") / "tokenizer.json"
    train_tokenizer(SENTENCES, 300, file)
    return file


@pytest.fixture(scope="module")
def tokenizer(tiny_file: Path) -> Tokenizer:
    return load_tokenizer(tiny_file, 32)


def test_contexts_match_the_published_encoder(encoder: TextEncoder, golden: Golden) -> None:
    mask_BN = golden["in.mask"]
    context_BND = encoder(golden["in.ids"], mask_BN)
    inside = mask_BN[..., None].bool()
    expected = golden["out.full"].where(inside, torch.zeros(()))
    torch.testing.assert_close(context_BND, expected, atol=PUBLISHED, rtol=0)
    for row, trimmed in enumerate(trim(context_BND, mask_BN)):
        torch.testing.assert_close(trimmed, golden[f"out.context{row}"], atol=PUBLISHED, rtol=0)


def test_padding_does_not_change_a_context(encoder: TextEncoder, golden: Golden) -> None:
    ids, mask = golden["in.ids"][:1], golden["in.mask"][:1]
    length = int(mask.sum())
    alone = encoder(ids[:, :length], mask[:, :length])
    torch.testing.assert_close(alone[0], golden["out.context0"], atol=PUBLISHED, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_contexts_are_those_of_transformers(dtype: torch.dtype) -> None:
    """Prompts of one token, of some, and of as many as there is room for."""
    config = dataclasses.replace(TextConfig.tiny(), text_len=160)
    library: nn.Module = UMT5EncoderModel(umt5_config(config))
    library.eval().to(dtype)
    ours = TextEncoder(config).eval().to(dtype)
    ours.encoder.load_state_dict(library.get_submodule("encoder").state_dict())
    ids_BN = torch.randint(0, config.vocab, (3, 160))
    mask_BN = (torch.arange(160)[None] < torch.tensor([1, 23, 160])[:, None]).long()
    with torch.no_grad():
        expected = library(input_ids=ids_BN, attention_mask=mask_BN).last_hidden_state
        actual = ours(ids_BN, mask_BN)
    inside = mask_BN[..., None].bool()
    if dtype == torch.float32:
        assert_rounded(actual, expected.where(inside, torch.zeros(())))
    else:  # the library rounds within GELU, we once after it
        difference = (actual - expected).where(inside, torch.zeros((), dtype=dtype)).abs()
        assert float(difference.mean()) < BFLOAT16_STEP * float(expected.abs().mean())


def test_initial_weights_are_spread_as_in_transformers() -> None:
    library = UMT5EncoderModel(umt5_config(TextConfig.tiny())).encoder.state_dict()
    for name, weight in TextEncoder(TextConfig.tiny()).encoder.state_dict().items():
        # The standard error of a deviation is 1 / sqrt(2 n): five of both sides.
        within = 5 / weight.numel() ** 0.5 * float(library[name].std())
        assert float(weight.std()) == pytest.approx(float(library[name].std()), abs=within), name


def test_a_prompt_without_any_token_is_nothing() -> None:
    model = TextEncoder(TextConfig.tiny()).eval()
    context_BND = model(torch.ones(2, 8).long(), torch.tensor([[1] * 8, [0] * 8]))
    assert context_BND[0].abs().sum() > 0
    assert torch.equal(context_BND[1], torch.zeros(8, 64))


def test_every_parameter_learns() -> None:
    model = TextEncoder(TextConfig.tiny()).train()
    ids = torch.arange(64).reshape(2, 32)
    model(ids, torch.ones_like(ids)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(("ids", "mask"), [((1, 4), (1, 5)), ((4,), (4,)), ((1, 0), (1, 0))])
def test_shapes_that_differ_are_refused(ids: tuple[int, ...], mask: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="ids"):
        TextEncoder(TextConfig.tiny())(torch.zeros(ids).long(), torch.ones(mask).long())


@pytest.mark.parametrize("token", [-1, 512])
def test_ids_outside_the_vocabulary_are_refused(token: int) -> None:
    ids = torch.full((1, 3), token)
    with pytest.raises(InputError, match="0 to 511"):
        TextEncoder(TextConfig.tiny())(ids, torch.ones_like(ids))


@pytest.mark.parametrize("case", NOTES["text_clean"], ids=lambda case: case["output"])
def test_text_is_cleaned_as_published(case: dict[str, str]) -> None:
    assert clean_text(case["input"]) == case["output"]


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=40))
def test_any_text_becomes_tokens(text: str, tokenizer: Tokenizer) -> None:
    ids_BN, mask_BN = tokenizer.encode([text, ""])
    assert ids_BN.shape == mask_BN.shape == (2, 32)
    length = int(mask_BN[0].sum())
    assert mask_BN[0].tolist() == [1] * length + [0] * (32 - length)
    assert ids_BN[0, length - 1] == 1
    assert not ids_BN[0, length:].any()
    assert (ids_BN[0, : length - 1] > 1).all()
    assert ids_BN[1].tolist() == [1] + [0] * 31


def test_different_prompts_have_different_ids(tokenizer: Tokenizer) -> None:
    ids_BN, mask_BN = tokenizer.encode(["A man talks.", "A woman talks.", "A man talks. " * 30])
    assert not torch.equal(ids_BN[0], ids_BN[1])
    assert mask_BN[2].all()
    assert ids_BN[2, -1] == 1


def test_learned_pairs_shorten_known_text(tokenizer: Tokenizer) -> None:
    _, mask_BN = tokenizer.encode(["A person is talking to the", "Zq kxjw vb qqzp xkcd w jpgh"])
    assert mask_BN[0].sum() < mask_BN[1].sum()


def test_the_file_fits_the_tiny_encoder(tiny_file: Path) -> None:
    config = TextConfig.tiny()
    ids, mask = load_tokenizer(tiny_file.parent, config.text_len).encode(SENTENCES[:2])
    assert TextEncoder(config).eval()(ids, mask).shape == (2, 32, 64)


def test_a_vocabulary_without_room_for_the_bytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="vocab"):
        train_tokenizer(SENTENCES, 200, tmp_path / "tokenizer.json")


def test_no_prompts_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match="texts"):
        tokenizer.encode([])


@pytest.fixture(scope="module")
def published_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as google/umt5-xxl has it, with a small sentencepiece model of our own."""
    folder: Path = tmp_path_factory.mktemp("published")
    SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_prefix=str(folder / "spiece"),
        vocab_size=90,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        pad_piece="<pad>",
        eos_piece="</s>",
        unk_piece="<unk>",
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "spiece.vocab").unlink()
    config = {
        "tokenizer_class": "T5Tokenizer",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "extra_ids": 0,
        "additional_special_tokens": [],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def test_a_published_tokenizer_folder_is_read_locally(published_folder: Path) -> None:
    ids_BN, mask_BN = load_tokenizer(published_folder, 64).encode(["A person is talking", ""])
    length = int(mask_BN[0].sum())
    assert 3 < length < 64
    assert ids_BN[0, length - 1] == 1
    assert (ids_BN[0, : length - 1] > 2).all()
    assert ids_BN[1].tolist() == [1] + [0] * 63


@pytest.mark.parametrize("content", [None, "", "{}", '{"model": 1}'])
def test_what_is_no_tokenizer_is_one_error(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(WeightsError, match="not a tokenizer"):
        load_tokenizer(tmp_path, 32)


def test_names_and_shapes_of_the_14b_preset_equal_the_manifest() -> None:
    tensors = json.loads((GOLDENS / "manifest_umt5_xxl.json").read_text())["tensors"]
    expected = {name: tuple(entry["shape"]) for name, entry in tensors.items()}
    assert published_shapes(TextConfig.flashtalk_14b()) == expected


def test_names_there_and_back() -> None:
    ours = TextEncoder(TextConfig.tiny()).state_dict()
    back = convert_published(to_published(ours))
    assert back.keys() == ours.keys()
    assert all(back[name] is ours[name] for name in ours)
    assert convert_published({"blocks.0.extra": torch.zeros(1)}).keys() == {"blocks.0.extra"}


@pytest.mark.parametrize("config", [TextConfig.tiny(), TextConfig.flashtalk_14b()])
def test_config_survives_its_file(config: TextConfig, tmp_path: Path) -> None:
    save_config(config, tmp_path)
    assert load_config(tmp_path) == config


@pytest.mark.parametrize(
    "values", [{"colour": 1}, {"dim_attn": 30, "heads": 4}, {"vocab": 0}, {"dim": "x"}]
)
def test_a_config_of_something_else_is_one_error(values: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(WeightsError, match=r"config\.json"):
        load_config(tmp_path)
