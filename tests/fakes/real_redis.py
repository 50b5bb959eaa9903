"""A real redis-server of a test's own, on loopback, that can be killed and restarted, and aged.

Ageing makes what is stored older instead of moving the server's clock: libfaketime, which could do
that, clashes with the allocator of Debian's redis-server, which then never starts.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis

from tests.patience import wait_until

# To the store it is as if ARGV[2] ms had gone by since it wrote the keys that begin with ARGV[1].
# What Redis times itself is moved, and so is every moment that is written in a hash, sorted set or
# a list of the store: a number of ms that is less than three years away from now.
_AGE = """
local clock, ms = redis.call('TIME'), tonumber(ARGV[2])
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function earlier(value)
  local number = tonumber(value)
  if number and math.abs(number - now) < 1e11 then
    return string.format('%.0f', number - ms)
  end
end
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local kind, left = redis.call('TYPE', key).ok, redis.call('PTTL', key)
  if kind == 'hash' then
    for _, field in ipairs(redis.call('HKEYS', key)) do
      local moved = earlier(redis.call('HGET', key, field))
      if moved then
        redis.call('HSET', key, field, moved)
      end
    end
  elseif kind == 'zset' then
    local pairs_of = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for i = 1, #pairs_of, 2 do
      local moved = earlier(pairs_of[i + 1])
      if moved then
        redis.call('ZADD', key, moved, pairs_of[i])
      end
    end
  elseif kind == 'list' then
    for i, packed in ipairs(redis.call('LRANGE', key, 0, -1)) do
      local entry = cmsgpack.unpack(packed)
      entry[1] = tonumber(earlier(entry[1]) or entry[1])
      redis.call('LSET', key, i - 1, cmsgpack.pack(entry))
    end
  elseif kind ~= 'string' then
    error('a kind of key that nobody has thought of: ' .. kind)
  end
  if left >= 0 then
    redis.call('PEXPIRE', key, left - ms)
  end
end
"""


@dataclass
class RedisServer:
    """The server; its data survive ``kill`` and ``start`` (every write is synced to a file)."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [
            "redis-server",
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--dir",
            str(self.folder),
        ]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._answers, what=f"redis-server answers; its log is in {self.folder}")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port)) as end,
        ):
            end.sendall(b"PING\r\n")
            return end.recv(16).startswith(b"+PONG")
        return False

    async def age(self, prefix: str, seconds: float) -> None:
        """What a store has under ``prefix`` becomes older by so much, and expires where it must."""
        async with Redis.from_url(self.url) as redis:
            await redis.eval(_AGE, 0, f"{prefix}:", str(round(seconds * 1_000)))

    def pause(self) -> None:
        """It keeps its connections and answers nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Gone at once; what it acknowledged is on the disk."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """The server while the block runs."""
    assert shutil.which("redis-server"), "redis-server is missing: scripts/setup_system.sh"
    with socket.socket() as keeper:
        # Held, without listening, as long as the server may be restarted: nobody else is given it.
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind(("127.0.0.1", 0))
        server = RedisServer(folder, keeper.getsockname()[1])
        try:
            server.start()
            yield server
        finally:
            server.kill()
