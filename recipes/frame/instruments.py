"""What a recipe measures of nets while they train, if its question does not ask for more."""

import keras

from keras_bn import callbacks

IMAGES = 1024  # Training images for the variance shift.
BATCH = 128  # Of those, for the activations.
POPULATION = 2000  # Training images that statistics are re-estimated of.


def usual(net, data, task, batch_size, every, log_dir):
    """The callbacks that measure a training: covariate shift and landscape of any net; variance shift and activations of nets that normalise by variances.

    Args:
        net: the one that is trained.
        data: its data.
        task: its task.
        batch_size: of the training, as the variance within a batch grows with its size.
        every: optimizer steps between two measurements; 0 for no callbacks.
        log_dir: the TensorBoard run that they write.
    """
    if not every:
        return []
    instruments = [callbacks.InternalCovariateShift(log_dir, every), callbacks.LossLandscape(log_dir, every)]
    if _normalises_by_variance(net):
        x, y = data.sample(BATCH)
        shift = callbacks.VarianceShift(data.drawn(IMAGES, batch_size), log_dir, every)
        instruments += [shift, callbacks.ActivationStatistics((x, task.targets(net, y)), log_dir, every)]
    return instruments


def recalibrated(data, task, with_dropout=False, batch_size=100, method="sequential"):
    """For `Training.at_end`: the task's score on the test data, with statistics that batch normalisation gets from training images at the final weights.

    Args:
        data: `images.Images`.
        task: its task.
        with_dropout: whether Dropout acts meanwhile; the quantity is another one then.
        batch_size: of the training images, POPULATION of them, drawn.
        method: as of `keras_bn.surgery.recalibrate`.
    """
    from keras_bn import surgery

    def measure(net):
        if not _normalises_by_variance(net):
            return {}
        try:
            changes = surgery.recalibrate(net, data.drawn(POPULATION, batch_size), method=method, dropout=with_dropout, verbose=False)
        except ValueError as error:
            if "not all finite" in str(error):
                return {}  # Weights may overflow while the loss stays finite: a ReLU can make 0 of NaN.
            raise
        try:
            logs = net.evaluate(data.test_batches().map(lambda x, y: (x, task.targets(net, y))), verbose=0, return_dict=True)
        finally:
            changes.undo()
        quantities = task.recorded(net, {**logs, **{f"val_{name}": value for name, value in logs.items()}})
        return {f"recalibrated_{'with_dropout_' if with_dropout else ''}{task.score}": quantities[task.score]}

    return measure


def _normalises_by_variance(net):
    """Whether it has a layer that normalises by mean and variance, as `LpBatchNormalization` does with p = 2 only."""
    return any(isinstance(layer, keras.layers.BatchNormalization) and getattr(layer, "normalises_by_variance", True) for layer in net.layers)
