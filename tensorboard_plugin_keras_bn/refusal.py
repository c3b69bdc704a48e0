"""`Refusal`: a request that cannot be answered, in one sentence."""


class Refusal(ValueError):  # noqa: N818
    """What was received, and what is expected."""
