"""`Layerwise`: what batch normalisation layers receive in inference, layer by layer, each at the statistics that those in front of it have got by then."""

from collections.abc import Callable, Iterable

import keras
import tensorflow as tf

from keras_bn import functional, keras_internals
from keras_bn.inspection import evaluation, normalization_layers
from keras_bn.inspection.channel_moments import channel_moments, pooled
from keras_bn.inspection.errors import evaluating

MOST_KEPT = 2**30  # Bytes of what layers have computed that are kept for those behind; where it is more, it is computed anew.


class Layerwise:
    """`Layerwise(model, layers, dropout)(read, settle, progress)`: goes through layers by their depth, one pass each, which begins where the last one ended.

    Args:
        model: built.
        layers: of batch normalisation, whose statistics are to be settled; others keep theirs.
        dropout: whether all other layers compute as in training.
    """

    def __init__(self, model: keras.Model, layers: list[keras.Layer], dropout: bool):
        self._model, self._layers, self._dropout, self._graphs = model, layers, dropout, {}

    def __call__(self, read: Callable[[], Iterable], settle: Callable, progress: Callable[[int, int], None]) -> None:
        """
        Args:
            read: returns the batches of what the model takes as `x`, from the first on.
            settle: receives a layer and the `functional.Moments` of its inputs over all batches, float64, and returns what its statistics become: a list of
                (variable, value).
            progress: receives how many depths are done, and how many there are.
        """
        snapshot = evaluation.snapshot(self._model)
        indices = {id(variable): index for index, variable in enumerate(self._model.non_trainable_variables)}
        kept, begin, end, deepest = None, 0, 0, 1
        while end < deepest:
            end += 1
            moments, onwards, size = {}, [], 0
            for graph, values in self._from_the_beginning(read()) if kept is None else kept:
                of_layers, behind = graph.part(begin, end)(snapshot, values)
                for layer, parts in of_layers.items():
                    moments.setdefault(layer, []).extend(parts)
                deepest, size = max(deepest, graph.deepest), size + sum(map(_bytes, behind))
                onwards = [*onwards, (graph, behind)] if size <= MOST_KEPT and onwards is not None else None
            if onwards is not None:
                kept, begin = onwards, end
            for layer, parts in moments.items():
                for variable, value in settle(layer, pooled(parts)):
                    snapshot.state[indices[id(variable)]] = tf.cast(value, variable.dtype)
            progress(end, deepest)

    def _from_the_beginning(self, batches):
        for index, x in enumerate(batches):
            x = evaluation.tensors(x)
            values = tf.nest.flatten(x, expand_composites=True)
            shapes = tuple((value.dtype, *value.shape[1:]) for value in values)
            if shapes not in self._graphs:
                with evaluating(self._model):
                    self._graphs[shapes] = _Graph(self._model, self._layers, self._dropout, x)
            yield self._graphs[shapes], [*values, tf.constant(index, tf.int64)]


class _Graph:
    """One evaluation, traced, of which parts can be computed.

    The depth of a layer is one more than that of the deepest whose statistics its inputs depend on. What belongs to depth d can be computed when the statistics
    of all layers up to depth d are settled, and not before.

    Attributes:
        deepest: the largest depth of a layer.
    """

    def __init__(self, model, layers, dropout, x):
        self._parts, self._snapshot, self._moments_of = {}, evaluation.snapshot(model), channel_moments()
        try:
            self._trace(model, layers, dropout, x, lambda shape: (None, *shape[1:]))
        except Exception:  # A model that has a batch size of its own.
            self._trace(model, layers, dropout, x, tuple)
        number = len(self._snapshot.weights) + len(self._snapshot.state)
        self._always, self._data = self._function.inputs[:number], self._function.inputs[number:]
        self._find_depths(model)

    def _trace(self, model, layers, dropout, x, shape_of):
        self._moments = []  # (layer, `functional.Moments` of one of its calls).

        def forward(weights, state, values, index):
            snapshot = evaluation.advanced(model, evaluation.Snapshot(list(weights), list(state)), index)
            with normalization_layers.watched(model, training=False) as calls:
                evaluation.outputs(model, snapshot, tf.nest.pack_sequence_as(x, list(values), expand_composites=True), training=dropout)
            for call in calls:
                if call.layer in layers:
                    self._moments.append((call.layer, self._moments_of(call.inputs, call.axis, call.mask)))

        weights, state = ([tf.TensorSpec(value.shape, value.dtype) for value in values] for values in (self._snapshot.weights, self._snapshot.state))
        values = [tf.TensorSpec(shape_of(value.shape), value.dtype) for value in tf.nest.flatten(x, expand_composites=True)]
        # Of all functions of TensorFlow only this one computes from any of its tensors to any other.
        self._function = tf.compat.v1.wrap_function(forward, [weights, state, values, tf.TensorSpec((), tf.int64)])
        keras_internals.keep_loops_whole(self._function.graph)

    def _find_depths(self, model):
        layers = list(dict.fromkeys(layer for layer, _ in self._moments))
        indices = {id(variable): len(self._snapshot.weights) + index for index, variable in enumerate(model.non_trainable_variables)}
        statistics = {}  # Operation -> bit of the layer whose statistic it is.
        for number, layer in enumerate(layers):
            for variable in (layer.moving_mean, layer.moving_variance):
                if id(variable) in indices:
                    statistics[self._always[indices[id(variable)]].op.name] = 1 << number
        entries = {tensor.op.name for tensor in self._data}
        self._operations = self._function.graph.get_operations()  # Each behind those whose outputs it uses.
        reached, self._varies = {}, {}  # Operation -> bits of the statistics that it depends on, and whether it depends on the batch.
        for operation in self._operations:
            before = [tensor.op.name for tensor in operation.inputs]
            self._varies[operation.name] = operation.name in entries or any(self._varies[name] for name in before)
            reached[operation.name] = statistics.get(operation.name, 0)
            for name in before:
                reached[operation.name] |= reached[name]
        in_front = dict.fromkeys(layers, 0)
        for layer, moments in self._moments:
            in_front[layer] |= reached[moments.mean.op.name] & ~(1 << layers.index(layer))  # One that is called twice may be in front of itself.
        depths = {}

        def depth_of(layer, behind=()):
            """behind: layers that it is in front of; in front of them again, it counts for nothing."""
            if layer in behind:
                return 0
            if layer not in depths:
                others = [other for number, other in enumerate(layers) if in_front[layer] >> number & 1]
                depths[layer] = 1 + max((depth_of(other, (*behind, layer)) for other in others), default=0)
            return depths[layer]

        self._depths = {layer: depth_of(layer) for layer in layers}
        self.deepest = max(self._depths.values(), default=0)
        by_bits = {bits: max((self._depths[layer] for number, layer in enumerate(layers) if bits >> number & 1), default=0) for bits in set(reached.values())}
        self._depth = {name: by_bits[bits] for name, bits in reached.items()}

    def part(self, begin, end):
        """A function of a snapshot and the values that are needed behind depth `begin`. It returns a dict, each layer of depth `end` to the moments of its
        calls, and the values that are needed behind that depth."""
        if (begin, end) not in self._parts:
            self._parts[begin, end] = self._made_part(begin, end)
        return self._parts[begin, end]

    def _made_part(self, begin, end):
        received, passed_on = self._needed_behind(begin), self._needed_behind(end)
        wanted = [(layer, moments) for layer, moments in self._moments if self._depths[layer] == end]
        computed = [tensor for tensor in passed_on if not any(tensor is each for each in received)]
        fetched = [[list(moments) for _, moments in wanted], computed]
        used = self._used_by(tf.nest.flatten(fetched), received)
        pruned = self._function.prune([*(self._always[index] for index in used), *received], fetched)
        # Called by itself, it takes a quarter of a second to look at its arguments.
        signature = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in pruned.inputs]
        function = evaluation.traced(lambda *values: pruned(*values), reduce_retracing=False, input_signature=signature)

        def part(snapshot, values):
            always = [*snapshot.weights, *snapshot.state]
            with evaluation.without_graph_optimiser():
                of_calls, new = function(*(always[index] for index in used), *values)
            moments = {}
            for (layer, _), values_of_call in zip(wanted, of_calls):
                moments.setdefault(layer, []).append(functional.Moments(*values_of_call))
            known = {id(tensor): value for tensors, those in ((received, values), (computed, new)) for tensor, value in zip(tensors, those)}
            return moments, [known[id(tensor)] for tensor in passed_on]

        return part

    def _used_by(self, tensors, received):
        """The indices of weights and statistics that these are computed of, where `received` are given."""
        seen, waiting = {tensor.op.name for tensor in received}, [tensor.op for tensor in tensors]
        while waiting:
            operation = waiting.pop()
            if operation.name not in seen:
                seen.add(operation.name)
                waiting += [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]
        return [index for index, tensor in enumerate(self._always) if tensor.op.name in seen]

    def _needed_behind(self, depth):
        """What varies from batch to batch, can be computed before the statistics of this depth are settled, and is used behind it; at depth 0 the batch."""
        if depth == 0:
            return self._data
        needed = {}
        for operation in self._operations:
            if self._depth[operation.name] >= depth:
                needed |= {tensor.ref(): tensor for tensor in operation.inputs if self._depth[tensor.op.name] < depth and self._varies[tensor.op.name]}
        return list(needed.values())


def _bytes(value):
    return value.shape.num_elements() * value.dtype.size
