"""`rebuilt`: a copy of a model in which some layers are others."""

import inspect
import types
import warnings
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_bn import keras_internals
from keras_bn.inspection import building
from keras_bn.inspection.errors import in_a_line

_CALLER = 5  # How far up of what warns here users call from.
DROPPED = object()  # In place of a layer that is left out: what it received goes on as it is.


def rebuilt(model: keras.Model, substitute: Callable) -> tuple[keras.Model, dict[keras.Layer, keras.Layer]]:
    """A copy of a model in which some layers are others; the model itself stays as it is.

    It has the model's values, `trainable` of each layer, names, and what it was compiled with; its optimizer goes on where that of the model is, if it has as
    many weights to train. Functional and sequential models, whichever hold each other, are made of their graphs; all other layers, and what these hold, of
    their configurations.

    Args:
        model: built.
        substitute: receives each layer that is not such a model, and returns what takes its place: a layer that is not built, DROPPED (within a functional or
            a sequential model), or None for a copy; a dict: of its configuration with these values.

    Returns:
        (copy, dict of each of its layers by the one that it was made for).

    Raises:
        ValueError: a layer whose configuration does not say how to make it, or a model that is not built.
    """
    building.refuse_unbuilt(model)
    copies = _Copies(substitute, model)
    with model.distribute_strategy.scope():
        copy = copies.of(model)
        copies.complete()
        pairs = {layer: copies.of(layer) for layer in (model, *keras_internals.layers_within(model))}
        pairs = {layer: new for layer, new in pairs.items() if new is not DROPPED}
        for layer, new in pairs.items():
            new.trainable = layer.trainable  # Of outer layers first, as that sets it for all that they hold.
        for layer, new in pairs.items():
            _take_over(_own_variables(layer), _own_variables(new))
        _compile_alike(model, copy)
    return copy, pairs


class _Copies:
    """`_Copies(substitute, model).of(layer)`: the layer's copy or substitute, the same one each time."""

    def __init__(self, substitute, model):
        self._substitute, self._made, self._incomplete, self._objects = substitute, {}, [], _objects_of([model, *keras_internals.layers_within(model)])

    def of(self, layer):
        if layer not in self._made:
            graph = keras_internals.functional_graph(layer)
            if graph is None:
                new = self._substitute(layer)
                self._made[layer] = self._by_configuration(layer, new or {}) if new is None or isinstance(new, dict) else new
            else:
                self._made[layer] = self._sequential(layer) if isinstance(layer, keras.Sequential) else self._functional(layer, graph)
        return self._made[layer]

    def complete(self):
        """Puts copies and substitutes in the place of what copies hold that were made of a configuration. To be called when all calls have been made, since
        only then layers have what they make in their `build`."""
        while self._incomplete:
            layer = self._incomplete.pop()
            self._complete(layer, self._made[layer])

    def _complete(self, layer, copy):
        if layer.built and not copy.built:  # No call of a graph has built it.
            _build_like(layer, copy)
        originals, copies = keras_internals.layers_held(layer), keras_internals.layers_held(copy)
        if len(originals) != len(copies):
            raise ValueError(
                f"{layer.name} holds {len(originals)} layers, and what its configuration makes holds {len(copies)}; expected equal numbers: let the "
                f"`get_config` of {type(layer).__name__} say all of them."
            )
        for original, other in zip(originals, copies):
            if original in self._made or keras_internals.functional_graph(original) is not None:
                new = self.of(original)
            elif (new := self._substitute(original)) is not None:
                if original.built:
                    _build_like(original, new)
                self._made[original] = new
            else:
                self._made[original] = other
                other.name = original.name
                self._complete(original, other)
                continue
            keras_internals.replace_layer(copy, other, new)

    def _sequential(self, model):
        layers = [layer for layer in map(self.of, model.layers) if layer is not DROPPED]
        return _like(model, [_input_like(model.inputs[0]), *layers])

    def _functional(self, model, graph):
        inputs, outputs = keras_internals.structures_of(graph)
        values = {}
        for tensor in graph.inputs:
            layer = keras_internals.input_layer_of(tensor)
            self._made[layer] = _input_like(tensor)
            values[id(tensor)] = self._made[layer].output
        for node in keras_internals.nodes_of(graph):
            args, kwargs = node.arguments.fill_in(values)
            operation = self.of(node.operation) if isinstance(node.operation, keras.Layer) else node.operation
            results = args[0] if operation is DROPPED else operation(*args, **_accepted(operation, node.operation, kwargs))
            values.update(zip(map(id, node.outputs), keras.tree.flatten(results)))
        return _like(model, *(keras.tree.map_structure(lambda tensor: values[id(tensor)], tensors) for tensors in (inputs, outputs)))

    def _by_configuration(self, layer, changes):
        with keras.saving.custom_object_scope(self._objects), keras_internals.trusting(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # That functions without a name are unsafe in files.
            try:
                copy = _of_configuration(layer, changes)
            except Exception as error:
                raise ValueError(
                    f"{layer.name} cannot be copied, as {type(layer).__name__}.from_config fails: {in_a_line(_first(error))}; expected a class whose "
                    "`get_config` says all arguments of its `__init__`: give it one."
                ) from error
        self._incomplete.append(layer)
        return copy


def _accepted(operation, original, kwargs):
    """Those that it takes: another one may take no mask."""
    if type(operation) is type(original):
        return kwargs
    return {name: value for name, value in kwargs.items() if name in inspect.signature(operation.call).parameters}


def _of_configuration(layer, changes):
    kind, config = type(layer), {**layer.get_config(), **changes}
    parameters = inspect.signature(kind.__init__).parameters.values()
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        # A class that does not hand on what all layers take; Keras puts it into the configuration nevertheless.
        accepted = {parameter.name for parameter in parameters}
        config = {name: value for name, value in config.items() if name in accepted or name not in ("name", "trainable", "dtype")}
    if kind is not keras.layers.Lambda:  # Which wants its function serialised.
        config |= {name: value for name, value in _functions_of(layer).items() if name in config and value.__name__ == "<lambda>"}
    copy = kind.from_config(config)
    for name in _functions_of(layer).keys() & _functions_of(copy).keys():
        # What was made of a configuration lacks what it refers to in the module that it was written in.
        object.__setattr__(copy, name, vars(layer)[name])
    copy.name = layer.name
    return copy


def _functions_of(layer):
    """Those that are its attributes; what stands there by the name of a method is Keras's doing."""
    return {name: value for name, value in vars(layer).items() if isinstance(value, types.FunctionType) and not hasattr(type(layer), name)}


def _first(error):
    """What was raised before Keras said it in other words."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _build_like(layer, copy):
    copy.build_from_config(layer.get_build_config())
    copy.built = True  # A model that has no `build` of its own does not say it.
    if not building.is_built(copy):
        raise ValueError(f"the copy of {layer.name} cannot be built by its shapes alone; expected a `build_from_config` that builds it: give its class one.")


def _input_like(tensor):
    layer = keras_internals.input_layer_of(tensor)
    return type(layer).from_config(layer.get_config())


def _like(model, *parts):
    """A functional model of (inputs, outputs), or a sequential one of (layers,), of the model's class."""
    kind = type(model)
    plain = keras.Sequential if isinstance(model, keras.Sequential) else keras.Model
    own = [name for each in kind.__mro__ if not _is_of_keras(each) and each is not object for name in vars(each)]
    if "__init__" in own and not _takes_any(kind.__init__):
        methods = sorted({name for name in own if not name.startswith("_")} - {"get_config", "from_config"})
        if methods:
            raise ValueError(
                f"{model.name} cannot be copied, as {kind.__name__} has an `__init__` of its own, and {methods[0]} besides, which a copy would lack; expected "
                "`__init__(self, *args, **kwargs)` that hands these on to keras.Model: write it so, or make the model's layers in it and give it a `call`."
            )
        kind = plain
    return (kind if own else plain)(*parts, name=model.name)


def _takes_any(function):
    kinds = {parameter.kind for parameter in inspect.signature(function).parameters.values()}
    return {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} <= kinds


def _is_of_keras(kind):
    return kind.__module__.split(".")[0] in ("keras", "tensorflow")


def _objects_of(holders):
    """What configurations of layers, optimizers or metrics refer to by name, and is not Keras's: classes, functions, initializers and their like."""
    values = [value for holder in holders for value in (holder, *vars(holder).values())]
    kinds = [value if isinstance(value, types.FunctionType | type) else type(value) for value in values]
    return {kind.__name__: kind for kind in kinds if not _is_of_keras(kind) and kind.__module__ != "builtins"}


def _own_variables(layer):
    within = {id(variable) for each in keras_internals.layers_within(layer) for variable in each.variables}
    return [variable for variable in layer.variables if id(variable) not in within]


def _take_over(variables, new):
    """Gives new variables the values of others; a substitute may have more, which keep theirs."""
    if len(variables) != len(new):
        named = {variable.name: variable for variable in variables}
        new = [variable for variable in new if variable.name in named]
        variables = [named[variable.name] for variable in new]
    for variable, other in zip(variables, new):
        other.assign(tf.convert_to_tensor(variable))
        if other.trainable != variable.trainable:
            other.trainable = variable.trainable


def _compile_alike(model, copy):
    if not model.compiled:
        return
    if type(model).compile is not keras.Model.compile:
        warnings.warn(f"the copy of {model.name} is not compiled, as its class has a `compile` of its own: compile it.", stacklevel=_CALLER)
        return
    arguments = keras.tree.map_structure(lambda value: _anew(value) if isinstance(value, keras.Metric) else value, keras_internals.compile_arguments(model))
    optimizer = _anew(model.optimizer)
    copy.compile(**{**arguments, "optimizer": optimizer})
    if model.optimizer.built:
        optimizer.build(copy.trainable_variables)
        if [one.shape for one in optimizer.variables] == [one.shape for one in model.optimizer.variables]:
            for variable, other in zip(model.optimizer.variables, optimizer.variables):
                other.assign(tf.convert_to_tensor(variable))
        elif len(copy.trainable_variables) == len(model.trainable_variables):
            warnings.warn(f"the optimizer of the copy of {model.name} begins anew, as it has other weights to train.", stacklevel=_CALLER)


def _anew(value):
    """An optimizer or a metric of the same configuration."""
    with keras.saving.custom_object_scope(_objects_of([value])), keras_internals.trusting():
        return type(value).from_config(value.get_config())
