"""A training as most recipes have it: classification of images by SGD, with the usual instruments."""

from recipes.frame.recipe import Training


def images(settings):
    """The images that the shared flags name: `Recipe.data`."""
    from recipes.datasets import sources

    return sources.load(settings)


def training(settings, data, hyperparameters, build, **differing):
    """A `Training`.

    Args:
        settings: namespace with learning-rate, batch size, epochs and the like, as far as the recipe has them among its flags.
        data: `images.Images`.
        hyperparameters: dict, `learning_rate` among them.
        build: as of `Training`.
        differing: fields of `Training` that are not as usual.
    """
    import keras

    from recipes.frame import instruments, tasks

    task = differing.pop("task", None) or tasks.Classification()
    every = getattr(settings, "measure_every", 0)
    batch_size = differing.pop("batch_size", None) or settings.batch_size
    usual = dict(
        optimizer=lambda: keras.optimizers.SGD(hyperparameters["learning_rate"], momentum=getattr(settings, "momentum", 0.0)),
        batch_size=batch_size,
        steps=settings.steps or settings.epochs * data.steps_per_epoch(batch_size),
        instruments=lambda net, log_dir: instruments.usual(net, data, task, batch_size, every, log_dir),
        at_end=[instruments.recalibrated(data, task)],
        jit_compile=getattr(settings, "jit_compile", False),
    )
    return Training(hyperparameters=hyperparameters, build=build, data=data, task=task, **{**usual, **differing})
