"""Pictures and sound at the right time, whatever the file's rate, clock or container."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashtalk.arrays import Rgb
from tests.unit.training.recorded_videos import clicks, hum, number_of, numbered, write_video
from training.data.videos.media_file import MediaFile, shard_members
from training.data.videos.pictures import frames_at, glance, survey
from training.data.videos.problems import BadVideoError
from training.data.videos.sound import sound_between

FPS = 25
RATES = {"24": 24.0, "25": 25.0, "29.97": 30000 / 1001, "30": 30.0, "50": 50.0, "60": 60.0}


def same(picture: Rgb) -> Rgb:
    return picture


def steady(fps: float, seconds: float, zero_s: float = 0.0) -> list[float]:
    return [zero_s + number / fps for number in range(round(fps * seconds))]


def nearest(times_s: list[float], wanted_s: float) -> int:
    """The number of the picture nearest in time, of two the earlier."""
    distance = np.abs(np.asarray(times_s) - times_s[0] - wanted_s)
    return int(np.flatnonzero(distance <= distance.min() + 1e-6)[0])


def numbers(media: MediaFile, first: int, count: int) -> list[int]:
    zero_s = survey(media).zero_s
    wanted = zero_s + (first + np.arange(count)) / FPS
    return [number_of(picture) for picture in frames_at(media, wanted.tolist(), same)]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_any_rate_becomes_25_by_time(rate: str, suffix: str, tmp_path: Path) -> None:
    times = steady(RATES[rate], 4, zero_s=0.36)
    media = MediaFile.find(write_video(tmp_path / f"v.{suffix}", times))
    seen = survey(media)
    assert seen.fps == pytest.approx(RATES[rate], rel=2e-3)
    assert seen.end_s == pytest.approx(len(times) / RATES[rate], abs=2e-3)
    for first, count in ((0, 20), (47, 33), (90, 9)):
        expected = [nearest(times, (first + k) / FPS) for k in range(count)]
        assert numbers(media, first, count) == expected


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(5, 200), min_size=40, max_size=60), st.integers(0, 30))
def test_a_changing_rate_too(
    tmp_path_factory: pytest.TempPathFactory, gaps_ms: list[int], first: int
) -> None:
    times = (np.concatenate([[0], np.cumsum(gaps_ms)]) / 1000).tolist()
    media = MediaFile.find(write_video(tmp_path_factory.mktemp("vfr") / "v.mp4", times))
    expected = [nearest(times, (first + k) / FPS) for k in range(10)]
    last = max(times)
    usable = [k for k in range(10) if (first + k) / FPS <= last]
    if usable:
        assert numbers(media, first, len(usable)) == expected[: len(usable)]


@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_a_stretch_read_from_the_middle_is_the_one_read_from_the_start(
    suffix: str, tmp_path: Path
) -> None:
    """Key frames are 40 pictures apart, pictures are stored out of order, and in MPEG-TS FFmpeg
    begins at a later key frame than it is asked for."""
    media = MediaFile.find(write_video(tmp_path / f"v.{suffix}", steady(30, 6)))
    whole = numbers(media, 0, 140)
    for first in range(0, 130, 7):
        assert numbers(media, first, 10) == whole[first : first + 10]


def test_a_glance_sees_what_a_survey_does(tmp_path: Path) -> None:
    media = MediaFile.find(write_video(tmp_path / "v.mkv", steady(30, 6, 0.5)))
    for start_s, end_s in ((0.0, None), (2.0, 4.0), (5.5, None)):
        one, other = survey(media, start_s, end_s), glance(media, start_s, end_s)
        assert one.zero_s == other.zero_s
        assert one.end_s == pytest.approx(other.end_s, abs=1e-3)
        assert one.size_hw == other.size_hw


@pytest.mark.parametrize("hz", [16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize(("sound_at_s", "zero_s"), [(0.0, 0.0), (0.4, 0.0), (0.0, 0.52)])
def test_a_click_is_heard_with_its_flash(
    hz: int, sound_at_s: float, zero_s: float, tmp_path: Path
) -> None:
    """Flashes and clicks at the same moments of the file; tracks that begin at other moments."""
    flashes = [number / 30 for number in (40, 71, 100)]
    times = steady(30, 4.5, zero_s)
    bright = {int(np.argmin(np.abs(np.asarray(times) - flash))) for flash in flashes}

    def picture(number: int, size_hw: tuple[int, int]) -> Rgb:
        return np.full((*size_hw, 3), 235 if number in bright else 16, np.uint8)

    pcm = clicks([flash - sound_at_s for flash in flashes], 4.5 - sound_at_s, hz)
    path = write_video(
        tmp_path / "v.mp4", times, pcm, hz=hz, sound_at_s=sound_at_s, picture=picture
    )
    media = MediaFile.find(path)
    zero = survey(media).zero_s
    count = round((4.5 - zero_s) * FPS) - 1
    shown = frames_at(media, (zero + np.arange(count) / FPS).tolist(), same).mean((1, 2, 3))
    sound = sound_between(media, zero, count * 640).pcm_S
    loud = np.abs(sound.reshape(count, 640)).max(1)
    for flash in flashes:
        at = (flash - zero_s) * FPS
        assert abs(np.flatnonzero(shown > 100) - at).min() <= 0.5
        assert abs(np.flatnonzero(loud > 0.2) - at).min() <= 1.0
        # The click itself is right to a few milliseconds.
        first = np.flatnonzero(np.abs(sound) > 0.2)
        assert np.abs(first / 16_000 - (flash - zero_s)).min() < 0.004


def test_sound_outside_of_its_track_is_silence(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mkv", steady(25, 4), hum(2), sound_at_s=1.0)
    sound = sound_between(MediaFile.find(path), 0.0, 4 * 16_000)
    assert sound.heard == pytest.approx(0.5, abs=0.03)
    power = (sound.pcm_S.reshape(-1, 1600) ** 2).mean(1)
    assert power[:9].max() < 1e-6
    assert power[11:29].min() > 1e-2
    assert power[32:].max() < 1e-6


@pytest.mark.parametrize("codec", ["aac", "mp3"])
@pytest.mark.parametrize("hz", [16_000, 44_100, 48_000])
def test_a_stretch_of_sound_is_a_cut_from_the_whole(hz: int, codec: str, tmp_path: Path) -> None:
    # A rising tone: what AAC makes of noise depends on where decoding began.
    time_s = np.arange(hz * 5) / hz
    pcm = (0.3 * np.sin(2 * np.pi * (100 + 200 * time_s) * time_s)).astype(np.float32)
    media = MediaFile.find(
        write_video(tmp_path / "v.mp4", steady(25, 5), pcm, hz=hz, audio_codec=codec)
    )
    whole = sound_between(media, 0.0, 5 * 16_000).pcm_S
    for first in range(0, 104, 3):
        part = sound_between(media, first / FPS, 20 * 640).pcm_S
        assert np.abs(part - whole[first * 640 : (first + 20) * 640]).max() < 1e-3


def test_several_channels_become_one(tmp_path: Path) -> None:
    import av

    path = write_video(tmp_path / "v.mkv", steady(25, 2))
    stereo = tmp_path / "s.mkv"
    left = hum(2, 48_000)
    with av.open(str(stereo), "w") as out, av.open(str(path)) as source:
        video = out.add_stream_from_template(source.streams.video[0])
        sound = out.add_stream("pcm_s16le", rate=48_000, layout="stereo")
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                out.mux(packet)
        both = np.stack([left, np.zeros_like(left)], 1).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray((both * 32767).astype(np.int16), "s16", "stereo")
        frame.sample_rate, frame.pts = 48_000, 0
        out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    heard = sound_between(MediaFile.find(stereo), 0.0, 2 * 16_000).pcm_S
    expected = hum(2)
    assert np.abs(np.corrcoef(heard, expected)[0, 1]) > 0.99
    assert 0.3 < np.abs(heard).max() / np.abs(expected).max() < 0.8


@pytest.mark.parametrize("turned", [0, 90, 180, -90])
def test_pictures_are_shown_upright(turned: int, tmp_path: Path) -> None:
    """A file that says: turn me; the top of the upright picture is bright."""
    upright_hw = (48, 80) if turned % 180 == 0 else (80, 48)

    def picture(number: int, size_hw: tuple[int, int]) -> Rgb:
        upright = np.full((*upright_hw, 3), 16, np.uint8)
        upright[: upright_hw[0] // 4] = 235
        # Stored turned back: FFmpeg's number is how far a player turns it counterclockwise.
        return np.ascontiguousarray(np.rot90(upright, -turned // 90))

    path = write_video(tmp_path / "v.mp4", steady(25, 1), turned=turned, picture=picture)
    media = MediaFile.find(path)
    assert survey(media).size_hw == upright_hw
    shown = frames_at(media, [0.2], same)[0].mean(2)
    assert shown.shape == upright_hw
    assert shown[: upright_hw[0] // 4 - 2].mean() > 150
    assert shown[upright_hw[0] // 4 + 2 :].mean() < 60


def test_a_video_inside_a_shard_is_the_video(tmp_path: Path) -> None:
    import tarfile

    paths = [
        write_video(tmp_path / f"{n}.mp4", steady(fps, 3), hum(3, pitch_hz=pitch))
        for n, fps, pitch in ((0, 25, 200), (1, 30, 400))
    ]
    shard = tmp_path / "shard.tar"
    with tarfile.open(shard, "w") as archive:
        for path in paths:
            archive.add(path, f"clips/{path.name}")
    assert set(shard_members(shard)) == {"clips/0.mp4", "clips/1.mp4"}
    for path in paths:
        plain = MediaFile.find(path)
        member = MediaFile.find(shard, f"clips/{path.name}")
        assert numbers(member, 30, 20) == numbers(plain, 30, 20)
        one, other = (sound_between(media, 0.5, 16_000).pcm_S for media in (plain, member))
        assert np.array_equal(one, other)
        assert member.digest() == plain.digest()
    with pytest.raises(BadVideoError, match="no such member"):
        MediaFile.find(shard, "clips/2.mp4")
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as archive:
        archive.add(paths[0])
    with pytest.raises(BadVideoError, match="not an uncompressed tar"):
        shard_members(tmp_path / "packed.tar")


def test_what_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", steady(25, 4), hum(4))
    media = MediaFile.find(path)
    with pytest.raises(BadVideoError, match="ends at") as caught:
        frames_at(media, [3.0, 5.0], same)
    assert caught.value.reason == "corrupt"
    with pytest.raises(BadVideoError) as caught:
        survey(media, start_s=9.0)
    assert caught.value.reason == "outside"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadVideoError) as caught:
        survey(media)
    assert caught.value.reason == "changed"
    with pytest.raises(BadVideoError) as caught:
        survey(MediaFile.find(path))
    assert caught.value.reason == "corrupt"
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(BadVideoError, match="not readable"):
        survey(MediaFile.find(tmp_path / "text.mp4"))
    with pytest.raises(BadVideoError) as caught:
        MediaFile.find(tmp_path / "none.mp4")
    assert caught.value.reason == "missing"
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(BadVideoError, match="empty"):
        MediaFile.find(tmp_path / "empty.mp4")
    silent = MediaFile.find(write_video(tmp_path / "s.mp4", steady(25, 1)))
    with pytest.raises(BadVideoError) as caught:
        sound_between(silent, 0.0, 100)
    assert caught.value.reason == "no sound"


def test_a_playlist_leads_nowhere(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", steady(25, 1))
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile v.mp4\n")
    with pytest.raises(BadVideoError):
        survey(MediaFile.find(tmp_path / "list.mp4"))


def test_the_test_pictures_can_be_read() -> None:
    assert [number_of(numbered(number)) for number in (0, 1, 513, 1023)] == [0, 1, 513, 1023]
