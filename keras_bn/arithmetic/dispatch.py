"""The one place that decides which arithmetic computes a form."""

import tensorflow as tf

from keras_bn import keras_internals

FUSED = "fused"
SHIFTED = "shifted"
PLAIN = "plain"
KERNEL_DTYPES = (tf.float32, tf.float16, tf.bfloat16)


def choose(dtype: tf.DType, *, masked: bool, grouped: bool, synchronized: bool, xla: bool, accelerated: bool, differentiated: bool, forwards: bool) -> str:
    """FUSED: TensorFlow's kernel, where it is right and fast; SHIFTED: right everywhere, and what XLA compiles well; PLAIN: that without a gradient by hand.

    | decided by | FUSED if | since the kernel |
    |---|---|---|
    | dtype | float32, float16, bfloat16 | has no float64 |
    | masked | no | counts all positions |
    | grouped | no | has one set of statistics a channel |
    | synchronized | no, nor SHIFTED | sees one replica; TensorFlow differentiates the exchange between replicas itself |
    | xla | no | becomes E[x**2] - E[x]**2 there, which is negative or 0 for means far from 0 |
    | accelerated | no | is another one on GPUs, and whether its numbers are right only the host could tell, after a copy to it |
    | differentiated | yes, SHIFTED too | and gradients by hand are of use to tapes only; converters (ONNX, TFLite) read plain operations |
    | forwards | no, nor SHIFTED | TensorFlow loses terms where a tape differentiates what forward mode made of a function with a gradient by hand |

    Rank and axis do not matter: whatever stands before and after the channels is merged. Nor does op determinism: the CPU's kernels are deterministic. Inputs
    that are too small for the kernel are told apart by `fused`, since sizes are often unknown until the graph runs.

    Args:
        dtype: of the inputs.
        masked: whether some positions do not count.
        grouped: whether parts of the batch are normalised apart (`virtual_batch_size`).
        synchronized: whether the moments are those of all replicas.
        xla: whether XLA compiles what is being traced.
        accelerated: whether there is a device other than CPUs.
        differentiated: whether a gradient tape may ask for gradients, or everything is computed at once, without a graph. A `tf.function` keeps what it was
            traced with: called first without a tape, it computes the same under one, and takes some five times as long.
        forwards: whether a forward accumulator follows the inputs, gamma or beta.
    """
    if synchronized or forwards or not differentiated:
        return PLAIN
    return FUSED if dtype in KERNEL_DTYPES and not (masked or grouped or xla or accelerated) else SHIFTED


def choose_path(
    tensors: tuple[tf.Tensor | None, ...], *, masked: bool = False, grouped: bool = False, synchronized: bool = False, jit_compile: bool = False
) -> str:
    """`choose`, for what is being computed or traced right now.

    Args:
        tensors: inputs, gamma and beta.
        masked, grouped, synchronized: as of `choose`.
        jit_compile: whether the function that will hold it is compiled by XLA itself.
    """
    return choose(
        tensors[0].dtype,
        masked=masked,
        grouped=grouped,
        synchronized=synchronized,
        xla=jit_compile or keras_internals.is_compiled_by_xla(),
        accelerated=_is_accelerated(),
        differentiated=tf.executing_eagerly() or jit_compile or keras_internals.is_recorded(),
        forwards=_are_followed_forwards(tensors),
    )


def choose_inference_path(tensors: tuple[tf.Tensor | None, ...], axis: int, *, small: bool | None, jit_compile: bool = False) -> str:
    """FUSED where TensorFlow's kernel normalises by given statistics best, in what is being computed or traced right now; else PLAIN.

    In a graph it does for small inputs, too: it is merged into the convolution before it, which leaves nothing of it. By itself its call costs more than
    single operations.

    Args:
        tensors: inputs, gamma and beta.
        axis: the channel axis.
        small: of `fused.is_small`.
        jit_compile: as of `choose_path`.
    """
    called_alone = bool(small) and tf.executing_eagerly()
    other_compiler = jit_compile or keras_internals.is_compiled_by_xla() or _is_accelerated()
    by_kernel = _fits_kernel(tensors[0], axis) and not (called_alone or other_compiler or _are_followed_forwards(tensors))
    return FUSED if by_kernel else PLAIN


def refuse_training(path: str, dtype: tf.DType, *, masked: bool, grouped: bool, synchronized: bool) -> None:
    """Raises the ValueError for a path of the training form that a caller named and that does not exist, or does not compute what is asked for."""
    if path not in (FUSED, SHIFTED, PLAIN):
        raise ValueError(f'`path` is {path!r}; expected "fused", "shifted" or "plain": leave it out to have it chosen.')
    asked = {"a mask": masked, "virtual batches": grouped, dtype.name: dtype not in KERNEL_DTYPES} if path == FUSED else {}
    if synchronized and path != PLAIN:
        asked["synchronized=True"] = True
    for name, is_asked in asked.items():
        if is_asked:
            raise ValueError(f'`path` is {path!r} with {name}; expected a path that computes that, "plain" or another: leave it out to have it chosen.')


def refuse_inference(path: str, x: tf.Tensor, axis: int) -> None:
    """As `refuse_training`, of the inference form."""
    if path not in (FUSED, PLAIN):
        raise ValueError(f'`path` is {path!r}; expected "fused" or "plain": leave it out to have it chosen.')
    if path == FUSED and not _fits_kernel(x, axis):
        raise ValueError(
            f'`path` is "fused" for inputs of shape {tuple(x.shape)} and dtype {x.dtype.name} with channels on axis {axis}; expected rank 4, channels last and '
            "no float64: leave it out to have it chosen."
        )


def _fits_kernel(x, axis):
    """Whether the kernel takes the inputs as they are: a reshape around it would hide it from converters."""
    return x.dtype in KERNEL_DTYPES and x.shape.rank == 4 and axis in (-1, 3)


def _are_followed_forwards(tensors):
    return keras_internals.is_differentiated_forwards([tensor for tensor in tensors if tf.is_tensor(tensor)])


def _is_accelerated():
    return any(device.device_type != "CPU" for device in tf.config.get_visible_devices())
