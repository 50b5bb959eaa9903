"""The client in JavaScript, written from the protocol: same frames, through the same faults."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from flashtalk.arrays import Frames
from flashtalk.client import FlashTalkClient, FrameDecoder
from flashtalk.streaming import Pcm
from flashtalk.v1 import media_pb2, stream_pb2
from flashtalk.v1 import session_service_pb2 as pb
from tests.e2e.processes import (
    face,
    frames_of,
    kill,
    patient_client,
    png,
    restart,
    run,
    speech,
    suite,
    targets,
)
from tests.fakes.real_redis import redis_server
from tests.patience import patient

SEED = 7
VOICE = (speech(7.3) * 32_767).astype(np.int16)


def program(name: str) -> str:
    """Of the Node.js that the development packages bring."""
    return str(Path(sys.executable).with_name(name))


@pytest.fixture(scope="module")
def example(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example as a reader gets it, with its packages."""
    root = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("node_modules")
    shutil.copytree(repo_root / "protos", root / "protos")
    folder = root / "examples/node"
    shutil.copytree(repo_root / "examples/node", folder, ignore=ignored)
    for script in ("barge_in.mjs", "broken_off.mjs", "interruptions.mjs", "prompts.mjs"):
        shutil.copy(repo_root / "tests/e2e" / script, folder)
    install(folder)
    return folder


def install(folder: Path) -> None:
    """Its packages: those that npm has kept, else through the proxy of the environment, if there is
    one, else past it."""
    command = [program("npm"), "ci", "--no-audit", "--no-fund"]
    given = dict(os.environ)  # noqa: TID251 - what a shell would hand on
    direct = {name: value for name, value in given.items() if not name.lower().endswith("_proxy")}
    tries = (([*command, "--offline"], given), (command, given), (command, direct))
    told = []
    for words, env in tries:
        done = subprocess.run(
            words,
            cwd=folder,
            env=env,
            timeout=patient(250),
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode == 0:
            return
        told.append(done.stderr)
    raise AssertionError("\n".join(told))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """portrait.png and speech.wav."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "portrait.png").write_bytes(png(face()))
    with wave.open(str(folder / "speech.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(VOICE.astype("<i2").tobytes())
    return folder


async def node(example: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        program("node"),
        *arguments,
        cwd=example,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def talk(gateways: str, files: Path, out: Path) -> list[str]:
    names = {
        "gateway": gateways,
        "image": files / "portrait.png",
        "audio": files / "speech.wav",
        "out": out,
        "seed": SEED,
    }
    return ["talk.js", *(f"--{name}={value}" for name, value in names.items())]


def read_mp4(path: Path) -> tuple[list[Frames], Pcm]:
    """Pictures and samples of a file."""
    container: Any = av.open(str(path))
    with container:
        pictures = [
            frame.to_ndarray(
                format="rgb24", src_colorspace=Colorspace.ITU709, src_color_range=ColorRange.MPEG
            )
            for frame in container.decode(video=0)
        ]
    container = av.open(str(path))
    with container:
        sound = [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
    return pictures, np.concatenate(sound)


async def received(client: FlashTalkClient, files: Path) -> list[Frames]:
    """What the Python client gets."""
    session = await client.create_session(
        files / "portrait.png",
        seed=SEED,
        idle_policy=pb.IDLE_POLICY_WAIT,
        pacing=pb.PACING_UNLIMITED,
    )
    async with client.stream(session) as stream:
        await stream.push_audio(VOICE)
        await stream.finish()
        events = [event async for event in stream]
    decoder = FrameDecoder(session.video_codec, (32, 32))
    return [decoder.decode(frame) for frame in frames_of(events)]


def decoded(frames: list[Any]) -> list[Frames]:
    """Pictures of what a script printed; each frame came once and in order."""
    assert [frame["frame_index"] for frame in frames] == list(range(len(frames)))
    decoder = FrameDecoder(media_pb2.VIDEO_CODEC_H264, (32, 32))
    return [
        decoder.decode(
            stream_pb2.Frame(
                frame_index=frame["frame_index"],
                key_frame=frame["key_frame"],
                video=base64.b64decode(frame["video"]),
            )
        )
        for frame in frames
    ]


def check_video(path: Path, expected: list[Frames]) -> None:
    pictures, sound = read_mp4(path)
    assert len(pictures) == len(expected)
    for index, (picture, wanted) in enumerate(zip(pictures, expected, strict=True)):
        np.testing.assert_array_equal(picture, wanted, str(index))
    np.testing.assert_array_equal(sound[: len(VOICE)], VOICE)
    assert len(sound) == 640 * len(pictures)


def test_a_client_in_another_language(
    weights: Path, example: Path, files: Path, tmp_path: Path
) -> None:
    """Its file has the frames and samples of the Python client, also when its gateway is killed."""

    async def scenario() -> None:
        folder = tmp_path / "redis"
        folder.mkdir()
        with redis_server(folder) as redis:
            async with (
                suite(weights, tmp_path, store=redis.url, gateways=2) as running,
                patient_client(running) as client,
            ):
                expected = await received(client, files)

                out = tmp_path / "undisturbed.mp4"
                process = await node(example, *talk(targets(running), files, out))
                printed, told = await process.communicate()
                assert process.returncode == 0, told
                assert f"frames={len(expected)} reconnects=0" in printed.decode()
                check_video(out, expected)

                out = tmp_path / "killed.mp4"
                process = await node(example, *talk(targets(running), files, out))
                assert process.stderr is not None
                await process.stderr.readuntil(b"frames")
                await kill(running, "gateway")
                printed, told = await process.communicate()
                assert process.returncode == 0, told
                # Perhaps all frames were there before: it is the script below that needs the other.
                assert re.search(rf"frames={len(expected)} reconnects=\d", printed.decode())
                check_video(out, expected)
                await restart(running, "gateway")

                given = [str(files / "portrait.png"), str(files / "speech.wav"), str(SEED)]
                process = await node(example, "broken_off.mjs", targets(running), *given)
                assert process.stderr is not None
                await process.stderr.readuntil(b"broken?")
                await kill(running, "gateway")
                printed, told = await process.communicate(b"yes\n")
                assert process.returncode == 0, told
                made = json.loads(printed)
                assert made["reconnects"] >= 1
                np.testing.assert_array_equal(decoded(made["frames"]), expected)

                portrait = str(files / "portrait.png")
                process = await node(example, "barge_in.mjs", targets(running), portrait)
                printed, told = await process.communicate()
                assert process.returncode == 0, told
                check_interruption(json.loads(printed))

                process = await node(example, "interruptions.mjs", targets(running), portrait)
                printed, told = await process.communicate()
                assert process.returncode == 0, told
                check_interruptions(json.loads(printed))

                process = await node(example, "prompts.mjs", targets(running), portrait)
                printed, told = await process.communicate()
                assert process.returncode == 0, told
                check_prompts(json.loads(printed))

                wrong = talk(targets(running), files, tmp_path / "none.mp4")
                process = await node(example, *wrong, f"--audio={portrait}")
                _, told = await process.communicate()
                assert process.returncode == 1
                assert told.startswith(b"talk: ")
                assert not (tmp_path / "none.mp4").exists()

    run(scenario)


def check_prompts(given: Any) -> None:
    """Each is answered once, and the last one holds."""
    assert given["first"]["outcome"] == "OUTCOME_APPLIED"
    assert given["first"]["first_frame"] == 0
    assert given["refusal"] == "INVALID_FIELD"
    assert given["outcomes"][-1] == "OUTCOME_APPLIED"
    assert len(given["seen"]["updated"]) == 4
    assert given["seen"]["frames"] == 60 * 25


def check_interruption(given: Any) -> None:
    """Told once; frames go on after the last one shown, and nothing said before follows."""
    heard, answer = given["heard"], given["answer"]
    assert heard.count("interrupted") == 1
    at = heard.index("interrupted")
    before, after = heard[:at], heard[at + 1 :]
    assert answer["played_frames"] == 20
    assert [(index, epoch) for index, epoch, _ in before] == [(i, 0) for i in range(len(before))]
    assert [(index, epoch) for index, epoch, _ in after] == [(20 + i, 1) for i in range(25)]
    assert {sample for _, _, sample in before} == {1_000}
    assert {sample for _, _, sample in after} == {2_000}


def check_interruptions(given: Any) -> None:
    """Each is answered once and in order, whoever asked; no call waits for ever."""
    at_once = given["three_at_once"]
    assert at_once["answers"] == [1, 2, 3]
    assert [told["epoch"] for told in at_once["interrupted"]] == [1, 2, 3]
    assert [frame for frame in at_once["frames"] if frame[1] == 3][-1][0] >= 24

    for name in ("window_full", "after_the_end"):
        told = given[name]
        assert told["interrupted"] == [told["answer"]], name
        assert told["closed"] == "REASON_FINISHED", name
        last = [index for index, epoch in told["frames"] if epoch == 1]
        first = told["answer"]["played_frames"]
        assert last == list(range(first, first + len(last))), name
    # 50 s, of which the server can have had 30 when it was interrupted.
    assert len([1 for _, epoch in given["window_full"]["frames"] if epoch == 1]) >= 15 * 25
    assert given["after_the_end"]["again"] == given["after_the_end"]["answer"]

    interrupt, push = given["nobody_reads"]
    assert interrupt[0] == push[0] == "rejected"
    assert "no acknowledgement of the interruption within 400 ms" in interrupt[1]
    assert "no speech was accepted within 400 ms" in push[1]
