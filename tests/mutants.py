"""Wrong variants of the code, and the tests that must notice each: `python tests/mutants.py [NAME ...]`.

Each variant is applied to a copy of the project; the tests beside it are run there and must fail. Takes some minutes, and is no part of the suite.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[1]
FUNCTIONAL, LAYER = "keras_bn/functional.py", "keras_bn/layers/batch_normalization.py"
TEST_FUNCTIONAL, TEST_LAYER = "tests/keras_bn/test_functional.py", "tests/keras_bn/layers/test_batch_normalization.py"

# name: (file, right, wrong, the tests each of which must fail)
MUTANTS = {
    "epsilon outside of the root": (
        FUNCTIONAL,
        "tf.math.rsqrt(variance + epsilon)",
        "1 / (tf.sqrt(variance) + epsilon)",
        [f"{TEST_FUNCTIONAL}::test_training_form_and_its_gradient_equal_the_oracle", f"{TEST_LAYER}::test_training_equals_the_oracle"],
    ),
    "N-1 for N": (
        FUNCTIONAL,
        "mean_of(tf.square(centred))",
        "mean_of(tf.square(centred)) * count / (count - 1)",
        [
            f"{TEST_FUNCTIONAL}::test_moments_equal_the_oracle",
            f"{TEST_LAYER}::test_training_equals_the_oracle",
            f"{TEST_LAYER}::test_moving_statistics_after_a_fit",
        ],
    ),
    "momentum reversed": (
        FUNCTIONAL,
        "moving * momentum + value * (1.0 - momentum)",
        "moving * (1.0 - momentum) + value * momentum",
        [f"{TEST_FUNCTIONAL}::test_moving_average_keeps_the_share_momentum_of_the_old", f"{TEST_LAYER}::test_moving_statistics_after_a_fit"],
    ),
    "wrong axis": (
        FUNCTIONAL,
        "    channel = range(x.shape.rank)[axis]",
        "    channel = x.shape.rank - 1",
        [f"{TEST_FUNCTIONAL}::test_moments_equal_the_oracle", f"{TEST_LAYER}::test_training_equals_the_oracle"],
    ),
    "update during inference": (
        LAYER,
        "            outputs, *_ = infer()",
        "            outputs, *_ = infer()\n            self.moving_mean.assign(train()[1])",
        [f"{TEST_LAYER}::test_inference_equals_the_oracle_and_updates_nothing", f"{TEST_LAYER}::test_not_trainable_is_inference"],
    ),
    "statistics held constant in the gradient": (
        FUNCTIONAL,
        "    return centred, count, shift + error, mean_of(tf.square(centred))",
        "    return centred, count, shift + error, tf.stop_gradient(mean_of(tf.square(centred)))",
        [f"{TEST_FUNCTIONAL}::test_training_form_and_its_gradient_equal_the_oracle", f"{TEST_LAYER}::test_training_equals_the_oracle"],
    ),
    "mean not corrected for its rounding": (
        FUNCTIONAL,
        "    centred = deviation - error",
        "    centred = deviation",
        [f"{TEST_FUNCTIONAL}::test_variance_stays_right_far_from_zero"],
    ),
    "variance by E[x**2] - E[x]**2": (
        FUNCTIONAL,
        "mean_of(tf.square(centred))",
        "mean_of(tf.square(x)) - tf.square(mean_of(x))",
        [f"{TEST_FUNCTIONAL}::test_variance_stays_right_far_from_zero"],
    ),
    "mask ignored": (
        FUNCTIONAL,
        "        if mask is not None:\n            values",
        "        if False:\n            values",
        [f"{TEST_FUNCTIONAL}::test_moments_ignore_masked_positions_whatever_they_hold", f"{TEST_LAYER}::test_masked_positions_do_not_count"],
    ),
    "moving average of an empty batch": (
        FUNCTIONAL,
        "tf.where(count > 0, moving * momentum + value * (1.0 - momentum), moving)",
        "moving * momentum + value * (1.0 - momentum)",
        [f"{TEST_FUNCTIONAL}::test_moving_average_of_nothing_stays_as_it_is", f"{TEST_LAYER}::test_a_batch_without_values_leaves_the_moving_statistics"],
    ),
    "half precision accumulated in half precision": (
        FUNCTIONAL,
        "return tf.cast(x, tf.float32) if x.dtype in (tf.float16, tf.bfloat16) else x",
        "return x",
        [f"{TEST_FUNCTIONAL}::test_half_precision_is_accumulated_in_float32", f"{TEST_LAYER}::test_dtype_policies"],
    ),
    "gamma of inference left out": (
        FUNCTIONAL,
        "tf.nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)",
        "tf.nn.batch_normalization(x, mean, variance, beta, None, epsilon)",
        [f"{TEST_FUNCTIONAL}::test_inference_form_equals_the_oracle", f"{TEST_LAYER}::test_inference_equals_the_oracle_and_updates_nothing"],
    ),
    "trainable=False ignored": (LAYER, "if not self.trainable or not", "if not", [f"{TEST_LAYER}::test_not_trainable_is_inference"]),
    "tensor training always true": (LAYER, "tf.cond(tf.cast(training, tf.bool), train, infer)", "train()", [f"{TEST_LAYER}::test_training_may_be_a_tensor"]),
    "jit_compile dropped": (
        LAYER,
        "tf.function(functional.batch_norm_training, jit_compile=jit_compile,",
        "tf.function(functional.batch_norm_training,",
        [f"{TEST_LAYER}::test_jit_compile_compiles_by_xla_wherever_it_is_called"],
    ),
    "denominator of inference without its root": (
        FUNCTIONAL,
        "tf.nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)",
        "tf.nn.batch_normalization(x, mean, tf.square(variance), beta, gamma, epsilon)",
        [f"{TEST_LAYER}::test_equals_keras"],
    ),
    "mask that broadcasts taken by its first row": (
        FUNCTIONAL,
        "tf.broadcast_to(mask, tf.gather(tf.shape(x), axes))",
        "tf.broadcast_to(mask[:1], tf.gather(tf.shape(x), axes))",
        [f"{TEST_FUNCTIONAL}::test_moments_take_a_mask_that_broadcasts"],
    ),
    "config that Keras does not take": (
        LAYER,
        "        if self.jit_compile:  #",
        "        if True:  #",
        [f"{TEST_LAYER}::test_config_and_weights_go_from_keras_to_ours_and_back"],
    ),
    "jit_compile not saved": (LAYER, 'config["jit_compile"] = True', "pass", [f"{TEST_LAYER}::test_saved_and_loaded"]),
    "synchronized statistics of another batch": (
        LAYER,
        "            return super().call(inputs, training=training, mask=mask)",
        "            return super().call(inputs[1:], training=training, mask=mask)",
        [f"{TEST_LAYER}::test_synchronized_is_left_to_keras"],
    ),
    "a momentum that is not the flag's": (
        "recipes/training.py",
        "momentum=settings.momentum)",
        "momentum=settings.momentum, nesterov=True)",
        ["tests/recipes/test_training.py::test_sgd_is_the_textbooks"],
    ),
    "test accuracy of the training images": (
        "recipes/training.py",
        'logs[f"val_{main}accuracy"]',
        'logs[f"{main}accuracy"]',
        ["tests/recipes/test_training.py::test_records_hold_what_the_model_does_on_the_test_images"],
    ),
    "variance for standard deviation in the initializer": (
        "recipes/models.py",
        'stddev=float(name.removeprefix("normal_"))',
        'stddev=float(name.removeprefix("normal_")) ** 0.5',
        ["tests/recipes/test_models.py::test_initializers_have_the_standard_deviation_that_they_name"],
    ),
    "a bound of chance by hand": (
        "recipes/data.py",
        "scipy.stats.binom.isf(1e-5, len(self.y_test), self.chance) / len(self.y_test)",
        "self.chance + 5 * (self.chance * (1 - self.chance) / len(self.y_test)) ** 0.5",
        ["tests/recipes/test_experiment.py::test_verdicts", "tests/recipes/test_data.py::test_digits_are_scikit_learns_split_by_class"],
    ),
    "a constant channel divided by its rounding": (
        "recipes/data.py",
        "deviation[deviation <= 1e-6 * abs(mean)] = 1.0",
        "deviation[deviation == 0] = 1.0",
        ["tests/recipes/test_data.py::test_a_constant_channel_becomes_0"],
    ),
    "order of an epoch not a function of it": (
        "recipes/data.py",
        "tf.constant(seed, tf.int64), epoch]",
        "tf.constant(seed, tf.int64), tf.zeros_like(epoch)]",
        ["tests/recipes/test_data.py::test_the_order_depends_on_seed_and_epoch_alone"],
    ),
    "seeds of dropout not resumed": (
        "recipes/checkpoint.py",
        "        variable.assign(array)",
        '        if "seed" not in variable.path:\n            variable.assign(array)',
        ["tests/recipes/test_training.py::test_a_training_that_is_killed_ends_where_it_would_have_ended"],
    ),
    "momenta not resumed": (
        "recipes/checkpoint.py",
        "        variable.assign(array)",
        '        if "momentum" not in variable.path:\n            variable.assign(array)',
        ["tests/recipes/test_training.py::test_a_training_that_is_killed_ends_where_it_would_have_ended"],
    ),
    "epochs start over": (
        "recipes/training.py",
        "settings.batch_size, seed, first_epoch)",
        "settings.batch_size, seed, 0)",
        ["tests/recipes/test_training.py::test_a_training_that_is_killed_ends_where_it_would_have_ended"],
    ),
    "test images normalised by themselves": (
        "recipes/data.py",
        "normalise(x_test), y_test)",
        "(x_test - x_test.mean(axis=(0, 1, 2))) / x_test.std(axis=(0, 1, 2)), y_test)",
        ["tests/recipes/test_data.py::test_training_images_are_normalised_by_their_own_channels_and_test_images_by_the_same"],
    ),
    "weight decay twice": (
        "recipes/models.py",
        "keras.regularizers.L2(weight_decay / 2)",
        "keras.regularizers.L2(weight_decay)",
        ["tests/recipes/test_models.py::test_weight_decay_adds_itself_times_the_kernel_to_the_gradient"],
    ),
    "one initializer for all layers": (
        "recipes/models.py",
        "            kernel_initializer=initializer(kernel_initializer),",
        "            kernel_initializer=keras.initializers.GlorotUniform(seed=1),",
        ["tests/recipes/test_models.py::test_no_two_layers_start_with_the_same_values"],
    ),
    "auxiliary loss not weighted": (
        "recipes/training.py",
        "AUXILIARY_LOSS_WEIGHT = 0.3",
        "AUXILIARY_LOSS_WEIGHT = 1.0",
        ["tests/recipes/test_training.py::test_the_loss_of_auxiliary_classifiers_counts_0_3"],
    ),
    "dense layers not grown": (
        "recipes/models.py",
        "copied = convolutions[:4] + dense",
        "copied = convolutions[:4]",
        ["tests/recipes/test_models.py::test_growing_copies_four_convolutions_and_the_dense_layers"],
    ),
    "standard deviation with divisor N": (
        "recipes/report.py",
        "statistics.stdev(present)",
        "statistics.pstdev(present)",
        ["tests/recipes/test_experiment.py::test_the_table_has_means_deviations_and_verdicts"],
    ),
}


def survivors(name):
    """The tests that should have noticed the variant of that name and passed."""
    path, right, wrong, tests = MUTANTS[name]
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__"))
        source = (copy / path).read_text()
        assert source.count(right) == 1, f"{name}: {path} holds {right!r} {source.count(right)} times; expected once."
        (copy / path).write_text(source.replace(right, wrong))
        return [test for test in tests if subprocess.run([sys.executable, "-m", "pytest", "-x", "-q", test], cwd=copy, capture_output=True).returncode != 1]


def main(names):
    failed = False
    for name in names or MUTANTS:
        tests = survivors(name)
        failed = failed or bool(tests)
        print(f"{'SURVIVED' if tests else 'noticed'}: {name}", *tests, flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
