"""The one place that decides which arithmetic computes the training form."""

import tensorflow as tf

FUSED = "fused"
CENTRED = "centred"


def choose(dtype: tf.DType, *, masked: bool, grouped: bool, synchronized: bool, xla: bool, accelerated: bool) -> str:
    """FUSED where TensorFlow's kernel is right and fast, else CENTRED, which is right everywhere and what XLA compiles well.

    | decided by | FUSED if | since the kernel |
    |---|---|---|
    | dtype | float32, float16, bfloat16 | has no float64 |
    | masked | no | counts all positions |
    | grouped | no | has one set of statistics a channel |
    | synchronized | no | sees one replica |
    | xla | no | becomes E[x**2] - E[x]**2 there, which is negative or 0 for means far from 0 |
    | accelerated | no | is another one on GPUs, which cannot be told to be right without a round trip to the host |

    Rank and axis do not matter: whatever stands before and after the channels is merged. Nor does op determinism: the CPU's kernels are deterministic.

    Args:
        dtype: of the inputs.
        masked: whether some positions do not count.
        grouped: whether parts of the batch are normalised apart (`virtual_batch_size`).
        synchronized: whether the moments are those of all replicas.
        xla: whether XLA compiles what is being traced.
        accelerated: whether there is a device other than CPUs.
    """
    fusable = dtype in (tf.float32, tf.float16, tf.bfloat16)
    return FUSED if fusable and not (masked or grouped or synchronized or xla or accelerated) else CENTRED


def choose_path(dtype: tf.DType, *, masked: bool = False, grouped: bool = False, synchronized: bool = False, jit_compile: bool = False) -> str:
    """`choose`, for what is being traced right now. jit_compile: whether the function that will hold it is to be compiled by XLA itself."""
    xla = jit_compile or (not tf.executing_eagerly() and tf.__internal__.get_enclosing_xla_context() is not None)
    accelerated = any(device.device_type != "CPU" for device in tf.config.list_physical_devices())
    return choose(dtype, masked=masked, grouped=grouped, synchronized=synchronized, xla=xla, accelerated=accelerated)
