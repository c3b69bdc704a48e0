"""Gradients of every order for a computation whose first gradient is written by hand or is a kernel's."""

from collections.abc import Callable

import tensorflow as tf


def differentiable(forward: Callable, backward: Callable, expression: Callable, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, mask: tf.Tensor | None = None):
    """What `forward` returns, with gradients to x, gamma and beta.

    Args:
        forward: function of (x, gamma, beta, mask), returning (y, statistics, saved): a tensor, tensors that get no gradient, and a structure of tensors.
        backward: function of (x, gamma, dy, saved, mask), returning the gradients (dx, dgamma, dbeta).
        expression: function of (x, gamma, beta, mask), returning y in differentiable operations: the second derivative and all higher ones come from it.
        x, gamma, beta: tensors.
        mask: handed on, or None.

    Returns:
        (y, statistics).
    """
    constants = [] if mask is None else [mask]

    @tf.custom_gradient
    def computed(x, gamma, beta, *constants):
        y, statistics, saved = forward(x, gamma, beta, *(constants or [None]))
        kept = [*tf.nest.flatten(saved), *constants]

        def gradient(dy, *_):
            @tf.custom_gradient
            def first(x, gamma, beta, dy, *kept):
                masks = kept[len(kept) - len(constants) :] or [None]
                gradients = backward(x, gamma, dy, tf.nest.pack_sequence_as(saved, kept[: len(kept) - len(constants)]), *masks)
                return gradients, lambda *downstream: (*_second(expression, x, gamma, beta, dy, masks, downstream), *(None for _ in kept))

            # Everything is handed over, and as copies: the gradient may be built in a graph of its own, in which those of the forward pass are not.
            return *first(*(tf.identity(value) for value in (x, gamma, beta, dy, *kept))), *(None for _ in constants)

        return (y, *statistics), gradient

    y, *statistics = computed(x, gamma, beta, *constants)
    return y, [tf.stop_gradient(value) for value in statistics]


def _second(expression, x, gamma, beta, dy, masks, downstream):
    """What flows back to (x, gamma, beta, dy) from the gradients (dx, dgamma, dbeta), where `downstream` flows back into those, or None."""
    mattering = [place for place, value in enumerate(downstream) if value is not None]

    def transposed(x, gamma, beta, dy, masks, *downstream):
        # By tf.gradients, since forward-mode differentiation calls this while it keeps tapes from recording; of copies, as dy hangs on x in the graph around.
        x, gamma, beta, dy = (tf.identity(value) for value in (x, gamma, beta, dy))
        gradients = tf.gradients(expression(x, gamma, beta, *masks), (x, gamma, beta), dy)
        unconnected = tf.UnconnectedGradients.ZERO
        return tf.gradients([gradients[place] for place in mattering], (x, gamma, beta, dy), downstream, unconnected_gradients=unconnected)

    if tf.executing_eagerly():
        transposed = tf.function(transposed, autograph=False)
    return transposed(x, gamma, beta, dy, masks, *(downstream[place] for place in mattering))
