"""The Python client: create a session, push speech, receive frames (no torch).

async with FlashTalkClient("localhost:50050") as client:
    session = await client.create_session(Path("portrait.png"))
    async with client.stream(session) as stream:
        await stream.push_audio(pcm)
        await stream.finish()
        async for event in stream:
            ...
"""

from flashtalk.client.access import read_api_key, tls_credentials
from flashtalk.client.errors import ClientError
from flashtalk.client.gateways import FlashTalkClient
from flashtalk.client.stream import Event, SessionStream
from flashtalk.client.video import FrameDecoder

__all__ = [
    "ClientError",
    "Event",
    "FlashTalkClient",
    "FrameDecoder",
    "SessionStream",
    "read_api_key",
    "tls_credentials",
]
