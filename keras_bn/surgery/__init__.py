"""Tools on a finished model, one a file."""

from keras_bn.surgery.convert import convert
from keras_bn.surgery.diagnose import diagnose
from keras_bn.surgery.fold import fold
from keras_bn.surgery.foldable import foldable
from keras_bn.surgery.freeze import freeze, unfreeze
from keras_bn.surgery.recalibrate import recalibrate
from keras_bn.surgery.revert import revert

__all__ = ["convert", "diagnose", "fold", "foldable", "freeze", "recalibrate", "revert", "unfreeze"]
