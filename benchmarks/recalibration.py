"""What does it give to recalibrate batch normalisation (`keras_bn.surgery.recalibrate`) in nets with Dropout in front of it, and of averaged weights?

Trains a small residual net of three blocks, with Dropout as Li, Chen, Hu & Yang 2018 place it (a: right in front of the last batch normalisation of each
block; b: in front of the last convolution of it), without, and without but with weights that `keras.callbacks.SwapEMAWeights` averages, whose moving statistics
are those of the weights before averaging. Shows test errors in per cent, mean and standard deviation over the seeds: as trained, recalibrated on the training
images without Dropout (the remedy of their section 4.3) and with it, and by batches; beside the paper's Table 3, of other nets.

    python -m benchmarks.recalibration                                                    digits, some minutes on 2 cores
    python -m benchmarks.recalibration --dataset=cifar10 --data_dir=DIR --epochs=8        an hour and a half
"""

import types

from absl import app, flags

from benchmarks import program
from recipes.frame import flags as shared
from recipes.nets import residual

NONE, IN_FRONT, BEFORE_CONVOLUTION, AVERAGED = "none", "a", "b", "averaged"
NETS = {
    NONE: "no Dropout",
    IN_FRONT: "a: Dropout in front of the last BN of each block",
    BEFORE_CONVOLUTION: "b: Dropout in front of its last convolution",
    AVERAGED: "no Dropout, averaged weights",
}
PLACES = {NONE: residual.NONE, IN_FRONT: residual.BEFORE_NORM, BEFORE_CONVOLUTION: residual.BEFORE_CONVOLUTION, AVERAGED: residual.NONE}
RATE, WIDTH, MOMENTUM = 0.5, 16, 0.9  # MOMENTUM: of the moving statistics, as PyTorch's nets of the paper have.
AVERAGING = 0.99
PAPER = {IN_FRONT: "8.42 to 6.42 and 4.43 to 3.96", BEFORE_CONVOLUTION: "5.85 to 5.77 and 4.09 to 3.93"}  # PreResNet-110 and ResNeXt-29, CIFAR-10.


def define_flags():
    """Called where this is the program only: other benchmarks have flags of the same names, and a process may import several."""
    own = {"dataset": "digits", "data_dir": None, "seeds": [0, 1, 2, 3, 4], "epochs": 15, "batch_size": 128}
    for flag in shared.shared(**own):
        flags.DEFINE(flag.parser, flag.name, flag.default, flag.help)
    program.define_choices("nets", tuple(NETS), "none: no Dropout; a and b: where Dropout is; averaged: no Dropout, and weights that are averages.")
    flags.adopt_module_key_flags(program)


def net(kind, shape, classes):
    """Of the recipe, with Keras's layer, as users have it."""
    import keras

    return residual.residual(shape, classes, place=PLACES[kind], rate=RATE, width=WIDTH, momentum=MOMENTUM, normalisation=keras.layers.BatchNormalization)


def trained(kind, dataset, training_arrays, seed, epochs, batch_size):
    import keras

    keras.utils.set_random_seed(seed)
    model = net(kind, dataset.image_shape, dataset.classes)
    steps = epochs * -(-dataset.training_size // batch_size)
    averaging = {"use_ema": True, "ema_momentum": AVERAGING} if kind == AVERAGED else {}
    optimizer = keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, steps), momentum=0.9, **averaging)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    callbacks = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if kind == AVERAGED else []
    model.fit(*training_arrays, batch_size=batch_size, epochs=epochs, verbose=0, callbacks=callbacks)
    return model


def errors(model, arrays, batch_size):
    """Of the test images, in per cent, by what the statistics are."""
    from keras_bn import surgery

    x_train, _, x_test, y_test = arrays

    def error():
        return 100 * (1 - model.evaluate(x_test, y_test, batch_size=500, verbose=0)[1])

    results = {"as trained": error()}
    ways = {"recalibrated": {}, "recalibrated with Dropout": {"dropout": True}, "by batches": {"method": "batch"}}
    for name, options in ways.items():
        changes = surgery.recalibrate(model, x_train, batch_size=batch_size, verbose=False, **options)
        results[name] = error()
        changes.undo()
    return results


def table(rows):
    import statistics

    from tabulate import tabulate

    cells = []
    for kind in dict.fromkeys(row["net"] for row in rows):
        of_net = [row["errors"] for row in rows if row["net"] == kind]
        values = {name: [each[name] for each in of_net] for name in of_net[0]}
        shown = {name: f"{statistics.mean(each):.2f} ± {statistics.stdev(each) if len(each) > 1 else 0:.2f}" for name, each in values.items()}
        cells.append({"net": NETS[kind], **shown, "the paper's Table 3": PAPER.get(kind, "")})
    return tabulate(cells, headers="keys", tablefmt="github", disable_numparse=True)


def conduct(settings, about, save):
    from recipes.datasets import sources
    from recipes.frame import machine

    dataset = sources.load(types.SimpleNamespace(dataset=settings["dataset"], data_dir=settings["data_dir"], image_size=32))
    arrays = dataset.in_memory()
    trainings = f"{settings['epochs']} epochs, {len(settings['seeds'])} seeds"
    print(f"{settings['dataset']}, {trainings}; {machine.device(about)}; TensorFlow {about['tensorflow']}, Keras {about['keras']}", flush=True)
    rows = []
    for seed in settings["seeds"]:
        for kind in settings["nets"]:
            model = trained(kind, dataset, arrays[:2], seed, settings["epochs"], settings["batch_size"])
            rows.append({"net": kind, "seed": seed, "errors": errors(model, arrays, settings["batch_size"])})
            save({"comparisons": rows})
            print(f"seed {seed}, {NETS[kind]}: {', '.join(f'{name} {value:.2f}' for name, value in rows[-1]['errors'].items())}", flush=True)
    print("", table(rows), sep="\n\n")


if __name__ == "__main__":
    define_flags()
    app.run(program.main("recalibration", conduct))
