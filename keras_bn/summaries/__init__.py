"""Where numbers go: TensorBoard's event files, written and read back."""

from keras_bn.summaries.events import read_scalars, write_hparams, write_scalars, write_text, writer
from keras_bn.summaries.log import Log, Measured

__all__ = ["Log", "Measured", "read_scalars", "write_hparams", "write_scalars", "write_text", "writer"]
