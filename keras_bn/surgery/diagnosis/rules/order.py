"""What stands next to batch normalisation in the graph: hints, none of which makes a number wrong."""

import keras

from keras_bn.surgery import affine
from keras_bn.surgery.diagnosis.evidence import Evidence
from keras_bn.surgery.diagnosis.finding import Finding, expression, several_layers

ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ELU,
    keras.layers.Softmax,
)


def bias_in_front(evidence: Evidence) -> Finding | None:
    """Where a linear layer right in front, read by nothing else, adds a bias: batch normalisation takes the mean away, and the bias with it."""
    fixed = {evidence.layers[name] for name in evidence.fixed if name in evidence.layers}  # Where the mean does not hold the bias.
    with_bias = [fold for fold in evidence.folds if fold.is_behind and getattr(fold.into, "use_bias", False) and fold.layer not in fixed]
    if not with_bias:
        return None
    first = with_bias[0]
    linear = first.into
    return Finding(
        first.layer.name,
        "bias_in_front",
        {"bias_of": linear.name, "weights": sum(int(fold.into.bias.shape[0]) for fold in with_bias), **_layers(with_bias)},
        f"The mean that it subtracts holds the bias of {linear.name}, which has no gradient, and costs time and memory; beta does what it is for.",
        f"layer = type({expression(evidence.model, linear)}).from_config({{**{expression(evidence.model, linear)}.get_config(), 'use_bias': False}})",
    )


def not_foldable(evidence: Evidence) -> Finding | None:
    """Where an activation in front keeps it from being folded, and nothing behind takes it up."""
    return _behind_activation(
        evidence,
        "not_foldable",
        [fold for fold in evidence.folds if fold.into is None],
        "An activation stands between it and the layer with a kernel, so that inference pays for it: a layer right behind the kernel costs nothing there.",
    )


def behind_activation(evidence: Evidence) -> Finding | None:
    """Where it is behind an activation and folds into the layer behind."""
    return _behind_activation(
        evidence,
        "behind_activation",
        [fold for fold in evidence.folds if fold.into is not None],
        "It normalises what an activation returns, not what it receives (Ioffe & Szegedy 2015, sec. 3.2, put it in front), so that nothing normalises the "
        "inputs of the activation. Some nets train as well that way.",
    )


def several_in_a_row(evidence: Evidence) -> Finding | None:
    """Where what is right in front is batch normalisation, too."""
    repeated = [fold for fold in evidence.folds if isinstance(fold.in_front, keras.layers.BatchNormalization)]
    if not repeated:
        return None
    first = repeated[0]
    return Finding(
        first.layer.name,
        "several_in_a_row",
        {"in_front": first.in_front.name, **_layers(repeated)},
        f"{first.in_front.name} right in front of it normalises already, and this one takes away again what that scales by gamma and shifts by beta.",
        "copy = keras_bn.surgery.fold(model)" if first.into is not None else _block("relu"),
    )


def _behind_activation(evidence, fault, candidates, why):
    behind = [fold for fold in candidates if (name := _activation(fold.in_front)) is not None]
    if not behind:
        return None
    first = behind[0]
    name = _activation(first.in_front)
    return Finding(
        first.layer.name,
        fault,
        {"activation": name, "in_front": first.in_front.name, **_layers(behind)},
        why,
        _block(name),
    )


def _block(activation):
    activation = activation if hasattr(keras.activations, activation) else "relu"
    return f"block = keras.Sequential([keras.layers.Dense(8, use_bias=False), keras_bn.BatchNormalization(), keras.layers.Activation({activation!r})])"


def _activation(operation):
    """The name of what an operation of the graph applies, if it is an activation or ends in one."""
    if isinstance(operation, keras.layers.Activation) or type(operation) in affine.LINEAR:
        activation = operation.activation
        return None if activation is keras.activations.linear else getattr(activation, "__name__", "relu")
    if isinstance(operation, ACTIVATIONS):
        return _snake(type(operation).__name__)
    name = "" if operation is None or isinstance(operation, keras.Layer) else _snake(type(operation).__name__)
    return name if name and name != "linear" and hasattr(keras.activations, name) else None


def _snake(name):
    return {"ReLU": "relu", "LeakyReLU": "leaky_relu", "PReLU": "leaky_relu", "ELU": "elu"}.get(name, name.lower())


def _layers(folds):
    return several_layers(fold.layer for fold in folds)
