"""What a recipe cannot do as asked."""


class Refusal(Exception):  # noqa: N818
    """The message is one sentence for the user: what was received, what is expected, how to mend it. The recipe prints it and ends."""
