"""The forms of normalisation as functions by `tf.function` that all layers share.

TensorFlow keeps whatever was traced with a gradient of its own until the process ends. So each form is traced once for each rank, dtype and set of options,
not once for each layer, model or shape: what is kept does not grow with those.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from keras_bn import keras_internals


def call(form: Callable, tensors: tuple[tf.Tensor | None, ...], jit_compile: bool | None = None, inlined: bool = True, **options):
    """What `form(*tensors, **options)` returns, by the shared function of it.

    Args:
        form: a function of a module, of tensors and hashable options. Its first output has the shape of its first tensor.
        tensors: any of them None.
        jit_compile: whether XLA compiles the function wherever it is called; None: as what is around is compiled.
        inlined: whether the graph optimiser copies the function into its callers. False for what is rarely needed: it is then one operation there.
    """
    kinds = tuple(None if tensor is None else (tensor.dtype, tensor.shape.rank) for tensor in tensors)
    outputs = _traced(form, kinds, jit_compile, inlined, tuple(options.items()))(*(tensor for tensor in tensors if tensor is not None))
    first, *others = tf.nest.flatten(outputs)
    if inlined or tf.executing_eagerly():
        first.set_shape(tensors[0].shape)
    else:
        # The graph optimiser learns shapes from operations, and a function that is one operation tells it none. Without shapes it keeps sums over no axis,
        # which the gradients of products have and which take the time of a copy each.
        first = tf.ensure_shape(first, tensors[0].shape)
    return tf.nest.pack_sequence_as(outputs, [first, *others])


@functools.cache
def _traced(form, kinds, jit_compile, inlined, options):
    def of_given(*given):
        given = iter(given)
        return form(*(None if kind is None else next(given) for kind in kinds), **dict(options))

    signature = [tf.TensorSpec([None] * kind[1], kind[0]) for kind in kinds if kind is not None]
    attributes = None if inlined else keras_internals.NOT_INLINED
    with tf.init_scope():  # Outside of any graph, which the function would keep.
        function = tf.function(of_given, input_signature=signature, jit_compile=jit_compile, autograph=False, experimental_attributes=attributes)
        return function.get_concrete_function()
