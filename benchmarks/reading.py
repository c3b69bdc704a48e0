"""What does a training step wait for images that are read and decoded while a net trains, and how much memory does that take?

Makes JPEGs once, crops of two photographs that come with scikit-learn, as a folder with one sub-folder a class and as TFRecord files. Trains a ResNet-50 of
small width on each as recipes do, and on one batch that is in memory all the time, in turns of some steps.

    python -m benchmarks.reading --images=50000        ten minutes on 2 cores, 1.5 GB below --folder

Waiting is the time until the next batch is there, in per cent of the step; where reading and decoding keep cores from the net, the step itself is longer, which
only the ratio to the step of the batch in memory tells. Memory is the largest resident set of the process.
"""

import pathlib
import resource
import time
import types

from absl import app, flags

from benchmarks import networks, program, timing
from recipes.frame import files

CLASSES, PER_FILE, TEST_SHARE = 10, 5000, 0.02
STEPS, SETTLING = 10, 4  # A turn; its first steps do not count, as pipelines fill their buffers while others have their turn.
IN_MEMORY, FOLDER, RECORDS = "one batch in memory", "folder of JPEGs", "TFRecords"


def define_flags():
    """Called where this is the program only."""
    flags.DEFINE_integer("images", 2000, "JPEGs, a fiftieth of them for tests.", lower_bound=1000)
    flags.DEFINE_integer("image_size", 224, "Their height and width in pixels.", lower_bound=32, upper_bound=400)
    flags.DEFINE_float("width", 0.125, "Multiplies the filters of ResNet-50.", lower_bound=1 / 16)
    flags.DEFINE_integer("batch_size", 32, "Images in a step.", lower_bound=1)
    flags.DEFINE_string("folder", None, "Where the images are, or are to be made. Default: a new one in runs/, by number and size.")
    flags.adopt_module_key_flags(program)


def made(folder, number, size):
    """Writes the images, unless they are there: {FOLDER: path, RECORDS: path}."""
    places = {FOLDER: folder / "jpegs", RECORDS: folder / "tfrecords"}
    if not (folder / "complete").exists():
        print(f"making {number:,} JPEGs of {size}x{size} in {folder} ...", flush=True)
        for split, (first, last) in {"test": (0, int(number * TEST_SHARE)), "train": (int(number * TEST_SHARE), number)}.items():
            _write(places, split, first, last, size)
        files.write(folder / "complete", "")
    return places


def _write(places, split, first, last, size):
    import tensorflow as tf

    images = tf.data.Dataset.range(first, last).map(_cropped(size), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(64)
    for label in range(CLASSES):
        (places[FOLDER] / split / str(label)).mkdir(parents=True, exist_ok=True)
    places[RECORDS].mkdir(parents=True, exist_ok=True)
    writer = None
    for index, (encoded, label) in enumerate(images.as_numpy_iterator()):
        if index % PER_FILE == 0:
            writer = tf.io.TFRecordWriter(str(places[RECORDS] / f"{split}-{index // PER_FILE:05}.tfrecord"))
        (places[FOLDER] / split / str(label) / f"{index:06}.jpg").write_bytes(encoded)
        values = {
            "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded])),
            "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        }
        writer.write(tf.train.Example(features=tf.train.Features(feature=values)).SerializeToString())
        if (index + 1) % PER_FILE == 0 or index + 1 == last - first:
            writer.close()


def _cropped(size):
    """Function of a number: (JPEG, label). A class is a photograph and a fifth of its width, which the crop begins in."""
    import tensorflow as tf
    from sklearn import datasets

    photographs = tf.constant([datasets.load_sample_image(name) for name in ("china.jpg", "flower.jpg")], tf.uint8)
    height, width = photographs.shape[1:3]

    def crop(number):
        label = number % CLASSES
        within = tf.random.stateless_uniform([2], seed=[number, 0])
        top, left = tf.cast(within[0] * (height - size), tf.int64), tf.cast((tf.cast(label // 2, tf.float32) + within[1]) / 5 * (width - size), tf.int64)
        return tf.io.encode_jpeg(photographs[label % 2, top : top + size, left : left + size], quality=95), label

    return crop


def turns(net, batches, waiting):
    """A function that trains on `STEPS` batches and notes in `waiting` the seconds of each step until its batch was there, and of the whole step."""
    iterator = iter(batches)

    def take():
        for step in range(SETTLING + STEPS):
            began = time.perf_counter()
            batch = next(iterator)
            there = time.perf_counter()
            net.train_on_batch(*batch)
            if step >= SETTLING:
                waiting.append((there - began, time.perf_counter() - began))

    return take


def conduct(settings, about, save):
    import keras
    import tensorflow as tf
    from tabulate import tabulate

    from recipes.datasets import sources

    size, batch_size = settings["image_size"], settings["batch_size"]
    folder = pathlib.Path(settings["folder"] or f"runs/images-{settings['images']}-{size}")
    net = networks.resnet50(size, settings["width"])
    net.compile(keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    contestants, waiting, starts = {}, {}, {}
    for name, place in made(folder, settings["images"], size).items():
        began = time.perf_counter()
        data = sources.load(types.SimpleNamespace(dataset=str(place), data_dir=None, image_size=size))
        batches = data.training_batches(batch_size, seed=0)
        first = next(iter(batches))
        starts[name] = time.perf_counter() - began
        contestants[name] = turns(net, batches, waiting.setdefault(name, []))
    contestants[IN_MEMORY] = turns(net, tf.data.Dataset.from_tensors(first).repeat(), waiting.setdefault(IN_MEMORY, []))
    print(f"{data.training_size:,} training images, ResNet-50 of {net.count_params():,} parameters", flush=True)
    taken = timing.interleaved(contestants, settings["repetitions"], settings["seconds"], warm_up=1, settling=0)
    rows = {}
    for name in (IN_MEMORY, FOLDER, RECORDS):
        steps = waiting[name][-len(taken[name]) * STEPS :]  # Without those of the warm-up.
        waits, whole = zip(*steps)
        turn = [sum(whole[start : start + STEPS]) / STEPS for start in range(0, len(whole), STEPS)]
        rows[name] = {"waiting": 100 * sum(waits) / sum(whole), "seconds": timing.summary(whole), "turns": turn, "start": starts.get(name)}
    for row in rows.values():
        row["ratio"] = timing.ratios(row["turns"], rows[IN_MEMORY]["turns"])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        tabulate(
            [
                {
                    "images": name,
                    "start, s": "-" if row["start"] is None else f"{row['start']:.1f}",
                    "step, ms": program.shown({key: 1000 * value for key, value in row["seconds"].items()}, 0),
                    "ratio": program.shown(row["ratio"], 3),
                    "waiting, %": f"{row['waiting']:.1f}",
                }
                for name, row in rows.items()
            ],
            headers="keys",
            tablefmt="github",
            disable_numparse=True,
        )
    )
    print(f"memory: {memory:.2f} GiB")
    save({"comparisons": rows, "memory_gib": memory, "parameters": net.count_params()})


if __name__ == "__main__":
    define_flags()
    app.run(program.main("reading", conduct))
