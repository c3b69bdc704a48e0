"""The one place that decides which arithmetic computes a form."""

import tensorflow as tf

from keras_bn import keras_internals

FUSED = "fused"
SHIFTED = "shifted"
PLAIN = "plain"
KERNEL_DTYPES = (tf.float32, tf.float16, tf.bfloat16)


def choose(dtype: tf.DType, *, masked: bool, grouped: bool, synchronized: bool, xla: bool, accelerated: bool, differentiated: bool) -> str:
    """FUSED: TensorFlow's kernel, where it is right and fast; SHIFTED: right everywhere, and what XLA compiles well; PLAIN: that without a gradient by hand.

    | decided by | FUSED if | since the kernel |
    |---|---|---|
    | dtype | float32, float16, bfloat16 | has no float64 |
    | masked | no | counts all positions |
    | grouped | no | has one set of statistics a channel |
    | synchronized | no, nor SHIFTED | sees one replica; TensorFlow differentiates the exchange between replicas itself |
    | xla | no | becomes E[x**2] - E[x]**2 there, which is negative or 0 for means far from 0 |
    | accelerated | no | is another one on GPUs, which cannot be told to be right without a round trip to the host |
    | differentiated | yes, SHIFTED too | and gradients by hand are of use to tapes only; converters (ONNX, TFLite) read plain operations |

    Rank and axis do not matter: whatever stands before and after the channels is merged. Nor does op determinism: the CPU's kernels are deterministic. Inputs
    that are too small for the kernel are told apart by `fused`, since sizes are often unknown until the graph runs.

    Args:
        dtype: of the inputs.
        masked: whether some positions do not count.
        grouped: whether parts of the batch are normalised apart (`virtual_batch_size`).
        synchronized: whether the moments are those of all replicas.
        xla: whether XLA compiles what is being traced.
        accelerated: whether there is a device other than CPUs.
        differentiated: whether a gradient tape may ask for gradients, or everything is computed at once, without a graph.
    """
    if synchronized or not differentiated:
        return PLAIN
    return FUSED if dtype in KERNEL_DTYPES and not (masked or grouped or xla or accelerated) else SHIFTED


def choose_path(dtype: tf.DType, *, masked: bool = False, grouped: bool = False, synchronized: bool = False, jit_compile: bool = False) -> str:
    """`choose`, for what is being computed or traced right now. jit_compile: whether the function that will hold it is compiled by XLA itself."""
    return choose(
        dtype,
        masked=masked,
        grouped=grouped,
        synchronized=synchronized,
        xla=jit_compile or keras_internals.is_compiled_by_xla(),
        accelerated=_is_accelerated(),
        differentiated=tf.executing_eagerly() or jit_compile or keras_internals.is_recorded(),
    )


def has_kernel(dtype: tf.DType, *, small: bool | None, jit_compile: bool = False) -> bool:
    """Whether TensorFlow's kernel normalises by given statistics best, in what is being computed or traced right now.

    In a graph it does for small inputs, too: it is merged into the convolution before it, which leaves nothing of it. By itself its call costs more than
    single operations.

    Args:
        dtype: of the inputs.
        small: of `fused.is_small`.
        jit_compile: as of `choose_path`.
    """
    called_alone = bool(small) and tf.executing_eagerly()
    return dtype in KERNEL_DTYPES and not (called_alone or jit_compile or keras_internals.is_compiled_by_xla() or _is_accelerated())


def _is_accelerated():
    return any(device.device_type != "CPU" for device in tf.config.get_visible_devices())
