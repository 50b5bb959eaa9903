"""A new prompt at a chunk border: stored before the first chunk that is planned with it.

No chunk has begun then, so a stored plan always belongs to the prompt of the stored state, and a
gateway that makes the chunk again uses that one.
"""

from __future__ import annotations

import dataclasses

from services.gateway.stream.open_stream import OpenStream
from services.gateway.stream.progress import Progress
from services.gateway.stream.prompts import KEPT_OUTCOMES


async def change_scene(stream: OpenStream, progress: Progress) -> Progress:
    """Takes the prompt that is ready; no chunk may be in progress.

    Returns:
        The progress of which the next chunk has that prompt.
    """
    state = progress.state
    scene, outcome = stream.prompts.take(state.position.next_frame)
    outcomes = (*state.prompt_outcomes, *scene.superseded, outcome)[-KEPT_OUTCOMES:]
    state = dataclasses.replace(
        state,
        scene=scene.asset.digest,
        prompt_outcomes=outcomes,
        loop=(),  # it shows the scene before
    )
    await stream.store.commit(stream.session_id, stream.fence, state, scene.asset)
    await stream.prompts.applied(scene, outcome)
    return Progress(state, scene.asset)
