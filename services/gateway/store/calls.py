"""Redis calls with a deadline: retried while Redis is unavailable, an error after the deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ReadOnlyError,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from flashtalk.errors import InputError
from services.gateway import metrics
from services.gateway.store.limits import StoreLimits
from services.gateway.store.scripts import load_scripts
from services.gateway.store.session_store import (
    FenceLost,
    SessionBusy,
    StoreError,
    session_gone,
)

_PASSING = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, ReadOnlyError)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.5


class RedisCalls:
    """Connections to one Redis, and its scripts by name.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``; a password in it is never shown.
        limits: timeouts.

    Raises:
        InputError: an invalid URL.
    """

    def __init__(self, url: str, limits: StoreLimits) -> None:
        self._limits = limits
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=limits.connections,
                timeout=limits.attempt_s,
                # Attempts have timeouts below: the library sends within ``asyncio.wait_for``, which
                # loses a cancellation (our deadline too) that comes with the result (Python 3.11).
                socket_timeout=None,
                socket_connect_timeout=limits.attempt_s,
                retry=Retry(ExponentialWithJitterBackoff(_LONGEST_PAUSE_S, _FIRST_PAUSE_S), 0),
                health_check_interval=10,
            )
        except ValueError as error:
            scheme = url.partition("://")[0]
            raise InputError(
                "store", f"{scheme}://...", f"not a valid Redis URL: {error}"
            ) from None
        self.redis = Redis.from_pool(pool)
        self._scripts = load_scripts(self.redis)
        self._again = Retry(
            ExponentialWithJitterBackoff(_LONGEST_PAUSE_S, _FIRST_PAUSE_S), -1, _PASSING
        )

    async def call(self, what: Callable[[], Awaitable[Any]]) -> Any:
        """Returns the answer of a call, which must be idempotent.

        Raises:
            StoreError: no answer within the deadline, with the error of the last attempt; or an
                error that a retry would not fix.
        """
        limit_s, attempt_s = self._limits.deadline_s, self._limits.attempt_s
        last: RedisError | None = None

        async def attempt() -> Any:
            nonlocal last
            try:
                async with asyncio.timeout(attempt_s):
                    return await what()
            except TimeoutError:
                last = RedisTimeoutError(f"no answer within {attempt_s:g} s")
                raise last from None
            except (AuthenticationError, AuthorizationError) as error:
                # A kind of lost connection to the library, which would retry without end.
                raise _refused(error) from None
            except RedisError as error:
                last = error
                raise

        try:
            async with asyncio.timeout(limit_s):
                return await self._again.call_with_retry(attempt, _ignore)
        except TimeoutError:
            why = f": {last}" if last is not None else ""
            metrics.STORE_ERRORS.labels("timeout").inc()
            raise StoreError(f"the store did not answer within {limit_s:g} s{why}") from None
        except RedisError as error:
            raise _refused(error) from error

    async def script(self, name: str, keys: Sequence[str], *arguments: Any) -> Any:
        """Returns the result of a script. Errors as ``call``."""
        script = self._scripts[name]

        async def run() -> Any:
            return await script(keys=list(keys), args=list(arguments))

        return await self.call(run)

    async def session_script(self, name: str, session_id: str, keys: Sequence[str], *a: Any) -> Any:
        """Returns the result of a session's script after its verdict.

        Raises:
            SessionGone, FenceLost, SessionBusy: the verdict. StoreError as ``call``.
        """
        verdict, *rest = await self.script(name, keys, *a)
        if verdict == b"gone":
            raise session_gone(session_id)
        if verdict == b"lost":
            raise FenceLost(f"session {session_id} was taken over by another stream")
        if verdict == b"busy":
            raise SessionBusy(f"session {session_id} has an open stream")
        return [verdict, *rest]

    async def close(self) -> None:
        """Closes the connections."""
        await self.redis.aclose(close_connection_pool=True)


def _refused(error: RedisError) -> StoreError:
    metrics.STORE_ERRORS.labels("refused").inc()
    return StoreError(f"the store rejected the command: {error}")


async def _ignore(_: Exception) -> None:
    """Called before a retry; does nothing, since connections reconnect by themselves."""
