"""Gradients of every order for a computation whose first gradient is written by hand or is a kernel's."""

from collections.abc import Callable

import tensorflow as tf


def differentiable(forward: Callable, backward: Callable, expression: Callable, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor):
    """What `forward` returns, with gradients to x, gamma and beta.

    Args:
        forward: function of (x, gamma, beta), returning (y, statistics, saved): a tensor, tensors that get no gradient, and whatever `backward` needs.
        backward: function of (x, gamma, dy, saved), returning the gradients (dx, dgamma, dbeta).
        expression: function of (x, gamma, beta), returning y in differentiable operations: the second derivative and all higher ones come from it.
        x, gamma, beta: tensors.

    Returns:
        (y, statistics).
    """

    @tf.custom_gradient
    def computed(x, gamma, beta):
        y, statistics, saved = forward(x, gamma, beta)

        def gradient(dy, *_):
            @tf.custom_gradient
            def first(x, gamma, dy):
                return backward(x, gamma, dy, saved), lambda *downstream: _second(expression, x, gamma, beta, dy, downstream)

            return first(x, gamma, dy)

        return (y, *statistics), gradient

    y, *statistics = computed(x, gamma, beta)
    return y, [tf.stop_gradient(value) for value in statistics]


def _second(expression, x, gamma, beta, dy, downstream):
    """What flows back to (x, gamma, dy) from the gradients (dx, dgamma, dbeta), where `downstream` flows back into those, or None."""
    mattering = [place for place, value in enumerate(downstream) if value is not None]

    def transposed(x, gamma, beta, dy, *downstream):
        # By tf.gradients, since forward-mode differentiation calls this while it keeps tapes from recording; of copies, as dy hangs on x in the graph around.
        x, gamma, beta, dy = (tf.identity(value) for value in (x, gamma, beta, dy))
        gradients = tf.gradients(expression(x, gamma, beta), (x, gamma, beta), dy)
        unconnected = tf.UnconnectedGradients.ZERO
        return tf.gradients([gradients[place] for place in mattering], (x, gamma, dy), downstream, unconnected_gradients=unconnected)

    if tf.executing_eagerly():
        transposed = tf.function(transposed, autograph=False)
    return transposed(x, gamma, beta, dy, *(downstream[place] for place in mattering))
