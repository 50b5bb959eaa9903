"""Errors that name what is wrong; every room may raise them."""


class FlashTalkError(Exception):
    """Anything this project raises on purpose."""


class InputError(FlashTalkError):
    """An input that cannot be used.

    Args:
        field: what was given, in the caller's words (``image``, ``audio``, ``size``).
        value: the offending value, shown as text.
        limit: what would have been accepted, or why it was not.
    """

    def __init__(self, field: str, value: object, limit: str) -> None:
        super().__init__(f"{field}: {value}: {limit}")
        self.field = field
        self.value = value
        self.limit = limit


class ReaderGoneError(InputError):
    """Nobody reads what is written any more: an end, and no mistake of anybody."""


class WeightsError(FlashTalkError):
    """A checkpoint that does not fit the architecture; the message lists tensor names."""
