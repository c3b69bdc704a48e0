"""`Objective`: what a training minimises, at given weights."""

import inspect
import weakref
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from keras_bn import keras_internals
from keras_bn.inspection import evaluation
from keras_bn.inspection.evaluation import Batch, Snapshot

# Operations that draw other numbers at each evaluation. keras.random and tf.random.stateless_* have none of them.
_STATEFUL = ("RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal", "RandomGamma", "RandomPoissonV2", "RandomShuffle", "Multinomial")
_GENERATORS = "StatefulUniform", "StatefulStandardNormal", "StatefulTruncatedNormal", "StatefulRandomBinomial", "RngReadAndSkip"


class Objective:
    """`Objective(model, loss)`: the loss of a model as a function of a snapshot and a batch. It leaves no trace in the model.

    Args:
        model: whose weights a snapshot holds.
        loss: function of (model, x, y, sample_weight) that returns a scalar tensor; None: the loss that the model was compiled with.
    """

    def __init__(self, model: keras.Model, loss: Callable | None = None):
        refuse_loss(loss)
        self._model, self._loss = weakref.ref(model), loss
        self._function = _untraced(loss)
        self._others = None if loss else []  # Variables that the loss reads and that are none of the model's: of other nets, of seed generators.

        self.uses_batch_statistics = True  # Unless a loss that is a function is found to evaluate all batch normalisation layers in inference mode.

    @property
    def is_compiled(self) -> bool:
        """Whether it is the loss that the model was compiled with."""
        return self._loss is None

    def snapshot(self, batch: Batch) -> Snapshot:
        """Copies of what all that the loss reads holds now. A loss that is a function is traced once to find out what that is, with a batch as it takes it.

        Raises:
            ValueError: the loss is no scalar, or draws other numbers at each evaluation.
        """
        if self._others is None:
            self._others = self._others_read(batch)
        return evaluation.snapshot(self._model())._replace(others=tuple(evaluation.values(self._others)))

    def _others_read(self, batch):
        model, others = self._model(), []

        def value(weights, state, batch):
            with evaluation.stateless(model, Snapshot(weights, state)) as scope:
                result = self._value(model, batch)
            _refuse_value(result)
            if not evaluation.weights_read(model, scope):
                raise ValueError(f"`loss` uses no trainable weight of {model.name}; expected one that does: call the model that it receives.")
            self.uses_batch_statistics = _batch_statistics_used(model, scope, state)
            others.extend(scope.unknown)
            return result

        weights, state = (
            [tf.TensorSpec(variable.shape, variable.dtype) for variable in each] for each in (model.trainable_variables, model.non_trainable_variables)
        )
        function = tf.function(value, autograph=False).get_concrete_function(weights, state, batch)
        _refuse_random(function.graph)
        return others

    def loss(self, snapshot: Snapshot, batch: Batch) -> tf.Tensor:
        """Scalar: the compiled loss as the model's training step computes it, with regularisers; or the function's. Equal states give equal dropout masks."""
        model = self._model()
        with evaluation.stateless(model, snapshot, self._others):
            return self._value(model, batch)

    def loss_of_outputs(self, batch: Batch, outputs, added: Sequence[tf.Tensor]) -> tf.Tensor:
        """The compiled loss within an open `evaluation.stateless`, of what the model has returned, and of the losses that its layers have added elsewhere."""
        model = self._model()
        for loss in added:
            keras.Layer.add_loss(model, loss)  # A functional model refuses its own.
        return compiled_loss(model, batch, outputs)

    def forward(self, snapshot: Snapshot, batch: Batch):
        """Makes all calls of the model that the loss needs, in training mode. Returns whatever comes of them: outputs, or the function's loss."""
        if self._loss is None:
            return evaluation.outputs(self._model(), snapshot, batch.x, training=True)
        return self.loss(snapshot, batch)

    def gradients(self, snapshot: Snapshot, batch: Batch, indices: Sequence[int], scale=1.0):
        """(loss, its gradients to the weights of these indices). Where the loss does not depend on a weight, its gradient is 0.

        Args:
            snapshot, batch: as of `loss`.
            indices: in `snapshot.weights`.
            scale: the loss is multiplied by it, and the gradients are divided by it, so that they stay within the range of half precision.
        """
        weights = [snapshot.weights[index] for index in indices]
        with tf.GradientTape() as tape:
            tape.watch(weights)
            value = self.loss(snapshot, batch)
            scaled = value * tf.cast(scale, value.dtype)
        results = tape.gradient(scaled, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return value, [gradient / tf.cast(scale, gradient.dtype) for gradient in results]

    def _value(self, model, batch):
        if self._loss is not None:
            return self._function(model, batch.x, batch.y, batch.sample_weight)
        return compiled_loss(model, batch, model(batch.x, training=True))


def compiled_loss(model: keras.Model, batch: Batch, outputs, training: bool = True) -> tf.Tensor:
    """The loss that the model was compiled with, of what it has returned, with what its layers have added within an open `evaluation.stateless`."""
    # Models that override `compute_loss` need not take `training`.
    takes_training = "training" in inspect.signature(model.compute_loss).parameters
    return model.compute_loss(batch.x, batch.y, outputs, batch.sample_weight, **({"training": training} if takes_training else {}))


def _untraced(loss):
    """What a `tf.function` traces, with its control flow converted; other functions as they are. A trace would keep tensors of one evaluation for the next."""
    if not isinstance(loss, tf.types.experimental.PolymorphicFunction):
        return loss
    try:
        return tf.autograph.to_graph(loss.python_function)
    except Exception:  # Such as one whose source is not there.
        return loss.python_function


def refuse_loss(loss) -> None:
    """Raises a ValueError for what can be seen to be no function of (model, x, y, sample_weight)."""
    if loss is None:
        return
    expected = "expected a function of (model, x, y, sample_weight) that returns a scalar tensor: write one that calls the model, training=True, and your loss"
    if isinstance(loss, keras.Loss) or not callable(loss):
        raise ValueError(f"`loss` is {loss!r}; {expected}.")
    try:
        signature = inspect.signature(loss)
    except (ValueError, TypeError):  # Of what is compiled nothing is known.
        return
    try:
        signature.bind(*"mxyw")
    except TypeError:
        raise ValueError(f"`loss` takes {signature}; {expected}.") from None


def _batch_statistics_used(model, scope, state):
    """Whether a batch normalisation layer has assigned its moving statistics; True where there is none that would."""
    normalisers = [layer for layer in keras_internals.layers_within(model) if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]
    given = {id(variable): value for variable, value in zip(model.non_trainable_variables, state)}
    return not normalisers or any(scope.get_current_value(layer.moving_mean) is not given.get(id(layer.moving_mean)) for layer in normalisers)


def _refuse_value(value):
    if not tf.is_tensor(value) or value.shape.rank != 0 or not value.dtype.is_floating:
        what = f"a tensor of shape {value.shape} and dtype {value.dtype.name}" if tf.is_tensor(value) else f"a {type(value).__name__}"
        raise ValueError(f"`loss` returned {what}; expected a scalar floating tensor: reduce it, by tf.reduce_mean for instance.")


def _refuse_random(graph):
    definition = graph.as_graph_def()
    operations = {node.op for nodes in (definition.node, *(function.node_def for function in definition.library.function)) for node in nodes}
    drawing = sorted(operation for operation in operations if operation in _STATEFUL or operation.startswith(_GENERATORS))
    if drawing:
        raise ValueError(
            f"`loss` draws numbers by {drawing[0]}, which are others at each evaluation; expected the same ones for the same state: draw by keras.random, "
            "whose seed generators have one."
        )
