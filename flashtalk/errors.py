"""Errors that name the problem; every package may raise them."""


class FlashTalkError(Exception):
    """Base class of this project's errors."""


class InputError(FlashTalkError):
    """An invalid input.

    Args:
        field: name of the input, in the caller's words (``image``, ``audio``, ``size``).
        value: the invalid value, shown as text.
        limit: the accepted values, or the reason.
    """

    def __init__(self, field: str, value: object, limit: str) -> None:
        super().__init__(f"{field}: {value}: {limit}")
        self.field = field
        self.value = value
        self.limit = limit


class ReaderGoneError(InputError):
    """The reader of the output has closed it: the program ends without an error."""


class WeightsError(FlashTalkError):
    """A checkpoint that does not fit the architecture; the message lists tensor names."""
