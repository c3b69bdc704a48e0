"""`Chain`: the objective of a model as a chain of functions, so that what comes after one of them can be computed without what comes before."""

import weakref
from collections.abc import Collection, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_bn import keras_internals
from keras_bn.inspection import evaluation
from keras_bn.inspection.evaluation import Batch, Snapshot
from keras_bn.inspection.functional_calls import INPUTS, functional_calls
from keras_bn.inspection.objective import Objective


class Carried(NamedTuple):
    """What passes from one link to the next.

    values: tensors that later links use; masks: their Keras masks, or None.
    state: as of `Snapshot`, or of what one link computes that which it assigns; losses: scalars that layers have added, or those of one link.
    """

    values: list
    masks: list
    state: list[tf.Tensor]
    losses: list[tf.Tensor]

    @property
    def differentiable(self) -> list[tf.Tensor]:
        return [value for value in (*self.values, *self.losses) if value.dtype.is_floating]


class Pass(NamedTuple):
    """One pass to the loss and back.

    snapshot: its weights; carried: for each link what it took; gradients: of the loss to what each link computed that is differentiable.
    at_loss: the gradients to the kernels by the way the loss itself reads them; None where it does not.
    """

    snapshot: Snapshot
    carried: list[Carried]
    gradients: list[list[tf.Tensor]]
    at_loss: list[tf.Tensor | None]


class Chain:
    """`Chain(model, objective, kernels)`: the objective as links that each take what the one before computes, so that a pass can begin at any of them.

    A functional model is cut before layers with a kernel. Other models, and losses that are functions, have no links: all of them is computed with the loss.
    Which link a pass begins at may be a tensor, so that one graph serves all, and grows with the depth, not with its square.

    Args:
        model: whose objective it is.
        objective: of that model.
        kernels: indices, in `model.trainable_variables`, of the weights whose gradients are wanted.
    """

    def __init__(self, model: keras.Model, objective: Objective, kernels: Sequence[int]):
        self._model, self._objective, self._kernels = weakref.ref(model), objective, list(kernels)
        self._links, self._outputs_of, self._read_by_loss = [], None, ()
        computed = functional_calls(model) if objective.is_compiled else None
        if computed is not None:
            calls, results, self._outputs_of = computed
            holders = {id(model.trainable_variables[index]) for index in kernels}
            self._links = [_Link(model, *part) for part in _cut(calls, results, holders)]

    def computed(self, snapshot: Snapshot, batch: Batch) -> list[Carried]:
        """What each link computes."""
        results, carried = [], _begin(snapshot, batch)
        for link in self._links:
            results.append(link(carried, snapshot.weights))
            carried = link.carry(carried, results[-1])
        self._loss(carried, snapshot, batch)  # For what it reads.
        return results

    def links_within(self, indices: Collection[int]) -> int:
        """How many links, from the first on, read no other weights than those of these indices. To be asked once they have computed."""
        return next((number for number, link in enumerate(self._links) if not link.weights <= frozenset(indices)), len(self._links))

    def links_of(self, indices: Collection[int]) -> list[int]:
        """Which links read weights of these indices. To be asked once they have computed."""
        return [number for number, link in enumerate(self._links) if not link.weights.isdisjoint(indices)]

    def read_from(self, first: int) -> frozenset[int]:
        """The indices of all weights that are read from that link on. To be asked once they have computed."""
        return frozenset(self._read_by_loss).union(*(link.weights for link in self._links[first:]))

    def passed(self, computed: list[Carried], first: tf.Tensor, snapshot: Snapshot, batch: Batch, scale) -> Pass:
        """A pass from link `first` on.

        Args:
            computed: by all links, at weights of which those that the links before `first` read are the same.
            snapshot, batch, scale: as of `Objective.gradients`.
        """
        kernels = [snapshot.weights[index] for index in self._kernels]
        carried, results = [_begin(snapshot, batch)], []
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(kernels)
            for number, link in enumerate(self._links):
                results.append(link.from_first(number >= first, computed[number], carried[-1], snapshot.weights))
                tape.watch(results[-1].differentiable)
                carried.append(link.carry(carried[-1], results[-1]))
            loss = self._loss(carried[-1], snapshot, batch)
            scaled = loss * tf.cast(scale, loss.dtype)
        gradients, at_loss = tape.gradient(scaled, ([result.differentiable for result in results], kernels))
        return Pass(snapshot, carried, gradients, [None if one is None else _unscaled(one, scale) for one in at_loss])

    def gradients(self, completed: Pass, indices: Collection[int], scale) -> list[tf.Tensor]:
        """The gradients of the loss to the kernels of these indices; scale: that of the pass."""
        kernels = [completed.snapshot.weights[index] for index in indices]
        results = [completed.at_loss[self._kernels.index(index)] for index in indices]
        for number in self.links_of(indices):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(kernels)
                values = self._links[number](completed.carried[number], completed.snapshot.weights, moving=indices).differentiable
            gradients = [tf.zeros_like(value) if gradient is None else gradient for value, gradient in zip(values, completed.gradients[number])]
            for index, gradient in enumerate(tape.gradient(values, kernels, gradients)):
                if gradient is not None:
                    gradient = _unscaled(gradient, scale)
                    results[index] = gradient if results[index] is None else results[index] + gradient
        return [tf.zeros_like(kernel) if result is None else result for kernel, result in zip(kernels, results)]

    def _loss(self, carried, snapshot, batch):
        if self._outputs_of is None:
            self._read_by_loss = range(len(snapshot.weights))
            return self._objective.loss(snapshot, batch)
        model = self._model()
        with evaluation.stateless(model, snapshot._replace(state=carried.state)) as scope:
            result = self._objective.loss_of_outputs(batch, self._outputs_of(_masked(carried)), carried.losses)
        self._read_by_loss = evaluation.weights_read(model, scope)
        return result


def _begin(snapshot, batch):
    return Carried([batch.x], [None], snapshot.state, [])


def _unscaled(gradient, scale):
    gradient = tf.convert_to_tensor(gradient)
    return gradient / tf.cast(scale, gradient.dtype)


class _Link:
    """`_Link(model, calls, entries, exits)(carried, weights, moving)`: what these calls compute, as within the model in training.

    Args:
        entries, exits: keys of the tensors that pass before and behind.
        moving: indices of the weights that it is differentiated by.

    Attributes:
        weights: indices, in `model.trainable_variables`, of the weights that it reads; once it has computed.
    """

    def __init__(self, model, calls, entries, exits):
        self._model, self._calls, self._entries, self._exits = weakref.ref(model), calls, entries, exits
        self.weights, self._assigned = frozenset(), []

    def __call__(self, carried, weights, moving=()):
        model = self._model()
        # No time is spent on the gradients to weights that are held constant.
        held = [tf.stop_gradient(weight) if index in self.weights.difference(moving) else weight for index, weight in enumerate(weights)]
        # Recorded by a tape, layers choose the same arithmetic whether a gradient is taken or not.
        with tf.GradientTape(), evaluation.stateless(model, Snapshot(held, carried.state)) as scope:
            before = dict(scope.state_mapping)
            values = dict(zip(self._entries, _masked(carried)))
            _within_model(model, lambda: self._compute(values))
        self.weights = evaluation.weights_read(model, scope)
        state = [(scope.state_mapping[id(variable)], before[id(variable)]) for variable in model.non_trainable_variables]
        self._assigned = [index for index, (value, earlier) in enumerate(state) if value is not earlier]
        exits = [values[key] for key in self._exits]
        assigned = [tf.stop_gradient(state[index][0]) for index in self._assigned]
        return Carried(exits, [keras_internals.mask_of(value) for value in exits], assigned, scope.losses)

    def carry(self, carried, computed):
        """What the next link takes."""
        state = list(carried.state)
        for index, value in zip(self._assigned, computed.state):
            state[index] = value
        return Carried(computed.values, computed.masks, state, [*carried.losses, *computed.losses])

    def from_first(self, is_computed, computed, carried, weights):
        """What it computes, or else `computed`, as that tensor says."""
        return tf.cond(
            is_computed,
            lambda: self(carried, weights),
            lambda: tf.nest.map_structure(lambda value: None if value is None else tf.stop_gradient(value), computed),
        )

    def _compute(self, values):
        for call in self._calls:
            values.update(zip(call.outputs, call.run([values[key] for key in call.inputs])))


def _masked(carried):
    """Its values, with their masks."""
    for value, mask in zip(carried.values, carried.masks):
        if mask is not None:
            keras_internals.set_mask(value, mask)
    return carried.values


def _within_model(model, run):
    """Calls `run()` as from within a model: a layer that is called by nobody forgets, in its second call, what the first one added to the losses."""

    class Caller(keras.Layer):
        def call(self, training=None):
            run()
            return training

    caller = Caller(name=model.name, dtype=model.dtype_policy)
    caller.built = True
    caller(training=True)


def _cut(calls, results, holders):
    """The parts of a list of calls, each with the keys of the tensors that pass before and behind it.

    Args:
        results: keys of what the outputs are made of.
        holders: ids of the kernels; each part begins with a call that holds some, but for what is before the first of them.
    """
    last_use = {key: index for index, call in enumerate(calls) for key in call.inputs} | dict.fromkeys(results, len(calls))
    passing, parts, is_begun = [INPUTS], [([], [INPUTS])], False
    for index, call in enumerate(calls):
        if call.layer is not None and any(id(variable) in holders for variable in call.layer.variables):
            if is_begun:
                parts.append(([], list(passing)))
            is_begun = True
        parts[-1][0].append(call)
        passing = [key for key in dict.fromkeys([*passing, *call.outputs]) if last_use.get(key, -1) > index]
    exits = [*(entries for _, entries in parts[1:]), results]
    return [(part, entries, behind) for (part, entries), behind in zip(parts, exits)]
