"""The caches of both splits, and the list of unreadable videos."""

from __future__ import annotations

from collections.abc import Mapping

from flashtalk.streaming.spec import StreamSpec
from training.data.cache import BucketCache, VideoPlan, build_video_caches
from training.data.encode import Encoders
from training.data.source.splits import Split
from training.data.source.video import VideoSource
from training.data.videos.problems import SkipList
from training.places import Places


def build_caches(
    sources: Mapping[Split, VideoSource],
    encoders: Encoders,
    plan: VideoPlan,
    places: Places,
    spec: StreamSpec,
) -> dict[Split, list[BucketCache]]:
    """Returns the caches of both splits; lists unreadable videos in the run's folder."""
    return {
        split: build_video_caches(
            source,
            encoders,
            plan,
            places.cache_dir,
            spec,
            SkipList(places.run_dir / f"skipped-{split}.jsonl"),
        )
        for split, source in sources.items()
    }
