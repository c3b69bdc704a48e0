"""Arguments that all callbacks take, refused where they are none."""

import os

import keras


def refuse(log_dir, net, optimizer) -> None:
    """Raises a ValueError for what is no folder, no net or no optimizer."""
    expected = (
        ("log_dir", log_dir, str | os.PathLike, "the folder of a TensorBoard run", 'give a path, such as "logs/run"'),
        ("net", net, keras.Model, "a keras.Model, one of those that the trained model holds", "give the model itself"),
        ("optimizer", optimizer, keras.Optimizer, "the optimizer that updates the net", "give the object whose `apply` the training step calls"),
    )
    for name, value, kind, what, remedy in expected:
        if value is not None and not isinstance(value, kind):
            raise ValueError(f"`{name}` is {value!r}; expected {what}: {remedy}, or leave it out.")
