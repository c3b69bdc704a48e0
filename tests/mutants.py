"""Wrong variants of the code, and the tests that must notice each: `python tests/mutants.py [NAME ...]`.

Each variant is applied to a copy of the project; the tests beside it are run there and must fail. Takes some minutes, and is no part of the suite.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[1]
FORMS, MASKS, SHARED, AXES = (f"keras_bn/arithmetic/{name}.py" for name in ("forms", "masks", "shared_functions", "axes"))
FUNCTIONAL, LAYER = "keras_bn/functional.py", "keras_bn/layers/batch_normalization.py"
SHIFTED, FUSED, DISPATCH, MOMENTS, REPLICAS, GRADIENTS = (
    f"keras_bn/arithmetic/{name}.py" for name in ("shifted", "fused", "dispatch", "moments", "replicas", "gradients")
)
NOISY, LP, UNIFORM = (f"keras_bn/layers/{name}.py" for name in ("noisy_batch_normalization", "lp_batch_normalization", "uniform_dropout"))
TEST_NOISY, TEST_LP, TEST_UNIFORM = (f"tests/{path.replace('layers/', 'layers/test_')}" for path in (NOISY, LP, UNIFORM))
TEST_FUNCTIONAL, TEST_LAYER = "tests/keras_bn/test_functional.py", "tests/keras_bn/layers/test_batch_normalization.py"
TEST_PATHS, TEST_DISPATCH, TEST_MOMENTS = (f"tests/keras_bn/arithmetic/test_{name}.py" for name in ("paths", "dispatch", "moments"))
TEST_RANGE, TEST_INPUTS, TEST_DERIVATIVES, TEST_EXPORTS, TEST_SUBCLASSES = (
    f"tests/keras_bn/layers/test_{name}.py" for name in ("range_of_values", "kinds_of_inputs", "ways_to_differentiate", "exports", "subclasses")
)
TEST_STATISTICS, TEST_REPLICAS, TEST_DROP_IN, TEST_LOOPS, TEST_PROPERTIES, TEST_REFUSALS = (
    f"tests/keras_bn/layers/test_{name}.py" for name in ("moving_statistics", "replicas", "drop_in", "training_loops", "properties", "refusals")
)

LP_FORM, RENORM = (f"keras_bn/arithmetic/{name}.py" for name in ("lp_form", "renormalisation"))
EVALUATION, RECORDED, ORDER, NORMALIZATION, BATCHES, BUILDING, PREPARED = (
    f"keras_bn/inspection/{name}.py" for name in ("evaluation", "recorded_calls", "layer_order", "normalization_layers", "batches", "building", "prepared")
)
MOMENTS_OF_CHANNELS = "keras_bn/inspection/channel_moments.py"
SHIFT, VARIANCES, LANDSCAPE, ACTIVATIONS = (f"keras_bn/measures/{name}.py" for name in ("covariate_shift", "variance_shift", "loss_landscape", "activations"))
TEST_SHIFT, TEST_VARIANCES, TEST_LANDSCAPE, TEST_ACTIVATIONS, TEST_NO_TRACE, TEST_QUANTITIES = (
    f"tests/keras_bn/measures/test_{name}.py" for name in ("covariate_shift", "variance_shift", "loss_landscape", "activations", "no_trace", "quantities")
)
INSTRUMENT, SCHEDULE, CLOCK, TRAIN_BATCH, UPDATES = (
    f"keras_bn/callbacks/{name}.py" for name in ("instrument", "schedule", "clock", "train_batch", "update_instrument")
)
OBJECTIVE, AFTER_STEPS = "keras_bn/inspection/objective.py", "keras_bn/callbacks/variance_shift.py"
TEST_OWN, TEST_SCHEDULE = (f"tests/keras_bn/callbacks/test_{name}.py" for name in ("trainings_of_one_s_own", "schedule"))
TEST_NUMBERS, TEST_IDENTITY, TEST_CALLBACK_REFUSALS, TEST_PROGRAMS, TEST_REMEDIES = (
    f"tests/keras_bn/callbacks/test_{name}.py" for name in ("numbers", "bit_identity", "callback_refusals", "programs", "remedies")
)
CHAIN, FUNCTIONAL_CALLS, TEST_CHAIN = (
    *(f"keras_bn/inspection/{name}.py" for name in ("chain", "functional_calls")),
    "tests/keras_bn/inspection/test_chain.py",
)
REBUILDING, CONVERT, REVERT, AFFINE, FOLDABLE, FOLD, RECALIBRATE, LAYERWISE = (
    f"keras_bn/surgery/{name}.py" for name in ("rebuilding", "convert", "revert", "affine", "foldable", "fold", "recalibrate", "layerwise")
)
FREEZE, TEST_FREEZE = "keras_bn/surgery/freeze.py", "tests/keras_bn/surgery/test_freeze.py"
IN_FIT, TEST_IN_FIT = "keras_bn/callbacks/recalibrate.py", "tests/keras_bn/callbacks/test_recalibrating.py"
TEST_CONVERT, TEST_FOLD, TEST_RECALIBRATE = (f"tests/keras_bn/surgery/test_{name}.py" for name in ("convert", "fold", "recalibrate"))
QUANTITIES, CONCLUSION, OF_VARIANCES, RULES_OF_SHIFTS, WORDS, OF_SHIFTS, OF_ACTIVATIONS, OF_LANDSCAPES = (
    f"keras_bn/measures/{name}.py"
    for name in (
        "quantities",
        "conclusions/conclusion",
        "conclusions/variance_shift",
        "conclusions/shifts",
        "conclusions/words",
        "conclusions/covariate_shift",
        "conclusions/activations",
        "conclusions/loss_landscape",
    )
)
TEST_CONCLUSIONS, TEST_OF_VARIANCES, TEST_COMPILED = (
    f"tests/keras_bn/callbacks/test_{name}.py" for name in ("conclusions", "variance_conclusions", "compiled_programs")
)
MESSAGES = "keras_bn/callbacks/messages.py"
TEST_ORDER = "tests/keras_bn/inspection/test_layer_order.py"
TEST_PREPARED = "tests/keras_bn/inspection/test_prepared.py"
EVENTS, LOG, DASHBOARD, HEATMAP = (f"keras_bn/summaries/{name}.py" for name in ("events", "log", "dashboard", "heatmap"))
TEST_EVENTS, TEST_LOG, TEST_HEATMAP = (f"tests/keras_bn/summaries/test_{name}.py" for name in ("events", "log", "heatmap"))
FILES, EXPERIMENT, WORKDIR, CHECKPOINT, TRAINING, CLAIMS = (
    f"recipes/frame/{name}.py" for name in ("files", "experiment", "workdir", "checkpoint", "training", "claims")
)
CLASSIFICATION, VERDICTS = (f"recipes/frame/tasks/{name}.py" for name in ("classification", "verdicts"))
TEST_EXPERIMENT, TEST_WORKDIR, TEST_TRAINING, TEST_TASKS, TEST_CLAIMS = (
    f"tests/recipes/frame/test_{name}.py" for name in ("experiment", "workdir", "training", "tasks", "claims")
)
TEST_INSTRUMENTS = "tests/recipes/frame/test_instruments.py"
IMAGES, RECORDS, VGG = "recipes/datasets/images.py", "recipes/datasets/records.py", "recipes/nets/vgg.py"
KERNELS, IDENTITIES, TEST_IDENTITIES = "recipes/nets/kernels.py", "recipes/nets/identities.py", "tests/recipes/nets/test_identities.py"
EVIDENCE, PICTURES, SELECTION, TEST_EVIDENCE, TEST_PICTURES, TEST_SELECTION = (
    *(f"recipes/frame/{name}.py" for name in ("evidence", "pictures", "selection")),
    *(f"tests/recipes/frame/test_{name}.py" for name in ("evidence", "pictures", "selection")),
)
WORKERS, TEST_DISTRIBUTE = "keras_bn/inspection/workers.py", "tests/keras_bn/test_distribute.py"
TEST_DISTRIBUTION = "tests/recipes/frame/test_distribution.py"
LEDGER, TEST_LEDGER = "recipes/ledger.py", "tests/recipes/test_ledger.py"
TAB_PLUGIN, TAB_SERIES, TAB_OVERVIEW, TAB_LOADER = (f"tensorboard_plugin_keras_bn/{name}.py" for name in ("plugin", "series", "overview", "loader"))
TAB_STATIC = "tensorboard_plugin_keras_bn/static"
TEST_ROUTES, TEST_SERVER, TEST_BROWSER = (f"tests/tensorboard_plugin_keras_bn/test_{name}.py" for name in ("routes", "server", "browser"))
TEST_IMAGES, TEST_SOURCES, TEST_VGG = "tests/recipes/datasets/test_images.py", "tests/recipes/datasets/test_sources.py", "tests/recipes/nets/test_vgg.py"

DIAGNOSIS, TEST_DIAGNOSE = "keras_bn/surgery/diagnosis", "tests/keras_bn/surgery/test_diagnose.py"
COMMAND_LINE, TEST_COMMAND_LINE = "keras_bn/__main__.py", "tests/keras_bn/test_command_line.py"

# name: (file, right, wrong, the tests each of which must fail)
MUTANTS = {
    "epsilon outside of the root": (
        FORMS,
        "(gamma * tf.math.rsqrt(centre.variance + epsilon))",
        "(gamma / (tf.sqrt(centre.variance) + epsilon))",
        [f"{TEST_FUNCTIONAL}::test_training_form_and_its_gradient_equal_the_oracle", f"{TEST_LAYER}::test_training_equals_the_oracle"],
    ),
    "N-1 for N": (
        SHIFTED,
        "total(tf.square(deviation), axes) / values",
        "total(tf.square(deviation), axes) / (values - 1)",
        [f"{TEST_FUNCTIONAL}::test_moments_equal_the_oracle", f"{TEST_LAYER}::test_training_equals_the_oracle", TEST_PROPERTIES],
    ),
    "N-1 for N in the kernel": (
        FUSED,
        "mean, variance = once.reserve_space_1, once.reserve_space_2",
        "mean, variance = once.reserve_space_1, once.batch_variance",
        [f"{TEST_PATHS}::test_both_paths_equal_the_oracle"],
    ),
    "momentum reversed": (
        MOMENTS,
        "multiply_no_nan(moving, share_kept) + tf.math.multiply_no_nan(value, 1.0 - share_kept)",
        "multiply_no_nan(moving, 1.0 - share_kept) + tf.math.multiply_no_nan(value, share_kept)",
        [
            f"{TEST_FUNCTIONAL}::test_moving_average_keeps_the_share_momentum_of_the_old",
            f"{TEST_LAYER}::test_moving_statistics_after_a_fit",
            f"{TEST_STATISTICS}::test_without_momentum_they_are_the_average_of_all_batches",
        ],
    ),
    "wrong axis": (
        AXES,
        "excluded = {range(x.shape.rank)[axis] for axis in excluded}",
        "excluded = {x.shape.rank - 1 for axis in excluded}",
        [f"{TEST_FUNCTIONAL}::test_moments_equal_the_oracle", f"{TEST_LAYER}::test_training_equals_the_oracle"],
    ),
    "wrong axis in the kernel": (
        FUSED,
        'data_format = "NHWC" if axis == x.shape.rank - 1 else "NCHW"',
        'data_format = "NHWC"',
        [f"{TEST_PATHS}::test_both_paths_equal_the_oracle"],
    ),
    "update during inference": (
        LAYER,
        "            outputs = self._infer(inputs, gamma, beta, mask)\n        elif",
        "            outputs = self._infer(inputs, gamma, beta, mask)\n            self._assign(self._train(inputs, gamma, beta, mask)[1])\n        elif",
        [f"{TEST_LAYER}::test_inference_equals_the_oracle_and_updates_nothing", f"{TEST_LAYER}::test_not_trainable_is_inference"],
    ),
    "statistics held constant in the gradient": (
        GRADIENTS,
        "return gamma * r * (dy - through_moments),",
        "return gamma * r * dy,",
        [f"{TEST_FUNCTIONAL}::test_training_form_and_its_gradient_equal_the_oracle", f"{TEST_LAYER}::test_training_equals_the_oracle"],
    ),
    "variance held constant in the second derivative": (
        GRADIENTS,
        "(shifted.total(by_xc, axes) + r**3 * by_r * xc) / n",
        "shifted.total(by_xc, axes) / n",
        [f"{TEST_PATHS}::test_second_derivatives_equal_the_oracle", f"{TEST_PATHS}::test_forward_mode_over_the_gradient", TEST_DERIVATIVES],
    ),
    "gradient made of what lies in another graph": (
        GRADIENTS,
        "(tf.identity(value) for value in (x, gamma, dy, *saved, *masks))",
        "(x, gamma, dy, *saved, *masks)",
        [f"{TEST_PATHS}::test_hessian_vector_product_of_a_loss"],
    ),
    "variance not corrected for the shift": (
        SHIFTED,
        "tf.maximum(squared - tf.square(error), 0)",
        "tf.maximum(squared, 0)",
        [f"{TEST_FUNCTIONAL}::test_moments_equal_the_oracle", f"{TEST_PATHS}::test_variance_stays_right_far_from_zero"],
    ),
    "variance by E[x**2] - E[x]**2": (
        SHIFTED,
        "    deviation = x - shift\n",
        "    shift = tf.zeros_like(shift)\n    deviation = x - shift\n",
        [f"{TEST_FUNCTIONAL}::test_variance_stays_right_far_from_zero", f"{TEST_PATHS}::test_variance_stays_right_far_from_zero"],
    ),
    "the kernel's mean taken as it is": (FUSED, "FAR = 8.0", "FAR = 1e30", [f"{TEST_PATHS}::test_variance_stays_right_far_from_zero"]),
    "half precision shifted in half precision": (
        FUSED,
        "    if x4.dtype == tf.float32:\n",
        "    if True:\n",
        [f"{TEST_RANGE}::test_half_precision_differences_beyond_its_range"],
    ),
    "rows that are left over not summed": (SHIFTED, "(staged, rows[whole:]))", "(staged,))", [f"{TEST_FUNCTIONAL}::test_moments_equal_the_oracle"]),
    "channels that stand first taken for neighbours": (
        SHIFTED,
        "tf.reshape(part, [-1, channels, behind]), [0, 2])",
        "tf.reshape(part, [-1, behind, channels]), [0, 1])",
        [f"{TEST_FUNCTIONAL}::test_moments_equal_the_oracle", f"{TEST_LAYER}::test_training_equals_the_oracle"],
    ),
    "noise one for all values": (
        NOISY,
        "+ uniform(each_value, -OFFSET_RANGE, OFFSET_RANGE)",
        "+ uniform(each_channel, -OFFSET_RANGE, OFFSET_RANGE)",
        [f"{TEST_NOISY}::test_noise_has_the_distributions_of_algorithm_1"],
    ),
    "distributions apart for each value": (
        NOISY,
        "uniform(each_channel, 1.0, self.variance_range)",
        "uniform(each_value, 1.0, self.variance_range)",
        [f"{TEST_NOISY}::test_noise_has_the_distributions_of_algorithm_1"],
    ),
    "noise in front of the normalisation": (
        LAYER,
        "        outputs, statistics = self._normalised(inputs, training, mask)\n        outputs = self._finished(outputs, training)\n",
        "        outputs, statistics = self._normalised(self._finished(inputs, training), training, mask)\n",
        [f"{TEST_NOISY}::test_gradients_and_moving_statistics_equal_the_oracle"],
    ),
    "noise in inference": (NOISY, "if self.noise_in_inference:", "if True:", [f"{TEST_NOISY}::test_no_noise_in_inference"]),
    "L1 as the root mean square": (LP_FORM, "    if p == 1:\n", "    if p == 3:\n", [f"{TEST_LP}::test_training_equals_the_oracle"]),
    "Lp measure of the inputs, not of the deviations": (
        LP_FORM,
        "masked(tf.abs(deviations), mask), axes) / values",
        "masked(tf.abs(inputs), mask), axes) / values",
        [f"{TEST_LP}::test_training_equals_the_oracle"],
    ),
    "the largest deviation of masked positions, too": (
        LP_FORM,
        "tf.reduce_max(masked(tf.abs(deviations), mask), axes",
        "tf.reduce_max(tf.abs(deviations), axes",
        [f"{TEST_LP}::test_masked_positions_do_not_count"],
    ),
    "the Lp measure held constant in the gradient": (
        LP_FORM,
        "factor = tf.math.rsqrt(squared + epsilon)",
        "factor = tf.math.rsqrt(tf.stop_gradient(squared) + epsilon)",
        [f"{TEST_LP}::test_training_equals_the_oracle"],
    ),
    "uniform noise of one sign": (UNIFORM, "-self.beta, self.beta", "0.0, self.beta", [f"{TEST_UNIFORM}::test_noise_is_uniform_around_1_and_independent"]),
    "uniform noise added": (
        UNIFORM,
        "tf.cast(inputs, dtype) * (1 + r)",
        "tf.cast(inputs, dtype) + r",
        [f"{TEST_UNIFORM}::test_noise_is_uniform_around_1_and_independent"],
    ),
    "mask ignored": (
        MASKS,
        "    return x if mask is None else tf.where(mask, x, tf.zeros([], x.dtype))",
        "    return x",
        [f"{TEST_FUNCTIONAL}::test_moments_ignore_masked_positions_whatever_they_hold", f"{TEST_LAYER}::test_masked_positions_do_not_count"],
    ),
    "moving average of an empty batch": (
        MOMENTS,
        "share_kept = tf.where(count > 0, momentum, tf.ones([], moving.dtype))",
        "share_kept = momentum",
        [f"{TEST_FUNCTIONAL}::test_moving_average_of_nothing_stays_as_it_is", f"{TEST_LAYER}::test_a_batch_without_values_leaves_the_moving_statistics"],
    ),
    "half precision accumulated in half precision": (
        FORMS,
        "return tf.float64 if x.dtype == tf.float64 else tf.float32",
        "return x.dtype",
        [f"{TEST_FUNCTIONAL}::test_half_precision_is_accumulated_in_float32", f"{TEST_LAYER}::test_dtype_policies"],
    ),
    "gamma of inference left out": (
        FORMS,
        "        factor *= tf.cast(gamma, dtype)\n",
        "        pass\n",
        [f"{TEST_FUNCTIONAL}::test_inference_form_equals_the_oracle", f"{TEST_LAYER}::test_inference_equals_the_oracle_and_updates_nothing"],
    ),
    "denominator of the kernel's inference without its root": (
        FUSED,
        "mean=mean, variance=variance, epsilon=epsilon, is_training=False",
        "mean=mean, variance=variance**2, epsilon=epsilon, is_training=False",
        [f"{TEST_LAYER}::test_equals_keras", f"{TEST_FUNCTIONAL}::test_inference_form_equals_the_oracle"],
    ),
    "gradient of inference without gamma": (
        FORMS,
        "tf.cast(dy_cast * (gamma * r), dy.dtype)",
        "tf.cast(dy_cast * r, dy.dtype)",
        [f"{TEST_PATHS}::test_inference_has_gradients_of_two_orders"],
    ),
    "more than the kernel in inference": (
        FUSED,
        "scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=epsilon, is_training=False).y",
        "scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=epsilon, is_training=False).y + 0 * tf.cast(tf.size(x), x.dtype)",
        [f"{TEST_DROP_IN}::test_the_graph_optimiser_merges_convolution_normalisation_and_relu"],
    ),
    "the kernel under XLA": (
        DISPATCH,
        "not (masked or grouped or xla or accelerated)",
        "not (masked or grouped or accelerated)",
        [f"{TEST_DISPATCH}::test_the_table", f"{TEST_DISPATCH}::test_the_graph_holds_what_was_chosen"],
    ),
    "the kernel nowhere": (
        DISPATCH,
        "return FUSED if dtype in KERNEL_DTYPES and",
        "return FUSED if False and dtype in KERNEL_DTYPES and",
        [f"{TEST_DISPATCH}::test_the_table", f"{TEST_DISPATCH}::test_the_graph_holds_what_was_chosen"],
    ),
    "trainable=False ignored": (LAYER, "if not self.trainable or not", "if not", [f"{TEST_LAYER}::test_not_trainable_is_inference"]),
    "tensor training always true": (
        LAYER,
        "                tf.cast(training, tf.bool),\n",
        "                tf.constant(True),\n",
        [f"{TEST_LAYER}::test_training_may_be_a_tensor"],
    ),
    "jit_compile dropped": (
        SHARED,
        "jit_compile=jit_compile, autograph=False",
        "autograph=False",
        [f"{TEST_LAYER}::test_jit_compile_compiles_by_xla_wherever_it_is_called"],
    ),
    "mask that broadcasts taken by its first row": (
        MASKS,
        "tf.broadcast_to(mask, tf.gather(shape, others))",
        "tf.broadcast_to(mask[:1], tf.gather(shape, others))",
        [f"{TEST_FUNCTIONAL}::test_moments_take_a_mask_that_broadcasts"],
    ),
    "config that Keras does not take": (
        LAYER,
        "if (value := getattr(self, name))}",
        "if [value := getattr(self, name)]}",
        [f"{TEST_LAYER}::test_config_and_weights_go_from_keras_to_ours_and_back"],
    ),
    "own arguments not saved": (
        LAYER,
        '("jit_compile", "unbiased", "virtual_batch_size")',
        "()",
        [f"{TEST_LAYER}::test_saved_and_loaded", f"{TEST_DROP_IN}::test_own_arguments_survive"],
    ),
    "the plain average forgets": (
        LAYER,
        "momentum = batches / (batches + 1)",
        "momentum = batches / (batches + 2)",
        [f"{TEST_STATISTICS}::test_without_momentum_they_are_the_average_of_all_batches"],
    ),
    "sample variance by the whole batch's count": (
        MOMENTS,
        "batch.count / tf.maximum(batch.count - 1, 1)",
        "tf.reduce_sum(batch.count) / tf.maximum(tf.reduce_sum(batch.count) - 1, 1)",
        [f"{TEST_MOMENTS}::test_sample_variance_has_divisor_one_less", f"{TEST_STATISTICS}::test_virtual_batches_are_normalised_apart"],
    ),
    "virtual batches of unequal size averaged alike": (
        MOMENTS,
        "tf.reduce_sum(share * parts.mean, 0), tf.reduce_sum(share * parts.variance, 0)",
        "tf.reduce_mean(parts.mean, 0), tf.reduce_mean(parts.variance, 0)",
        [f"{TEST_MOMENTS}::test_averaged_moments_leave_out_what_differs_between_the_parts", f"{TEST_STATISTICS}::test_virtual_batches_are_normalised_apart"],
    ),
    "what is between the parts left out of the merged variance": (
        MOMENTS,
        "parts.variance + tf.square(parts.mean - mean)",
        "parts.variance",
        [
            f"{TEST_MOMENTS}::test_merged_moments_of_unequal_parts_are_those_of_the_whole",
            f"{TEST_PROPERTIES}::test_merged_moments_of_unequal_parts_are_those_of_the_whole",
            f"{TEST_REPLICAS}::test_synchronized_statistics_are_those_of_the_whole_batch",
        ],
    ),
    "replicas of unequal size weighted alike": (
        REPLICAS,
        "for value in (centre.count, centre.mean, centre.variance)",
        "for value in (tf.ones_like(centre.count), centre.mean, centre.variance)",
        [f"{TEST_REPLICAS}::test_synchronized_statistics_are_those_of_the_whole_batch"],
    ),
    "replicas whose statistics drift apart": (
        LAYER,
        '                aggregation="mean",\n',
        '                aggregation="none",\n',
        [f"{TEST_REPLICAS}::test_unsynchronized_replicas_normalise_by_themselves_and_are_averaged_where_they_are_read"],
    ),
    "renormalisation differentiated": (
        RENORM,
        "scale, offset = tf.stop_gradient(r), tf.stop_gradient(d)",
        "scale, offset = r * tf.reduce_mean(normalised), d",
        [f"{TEST_STATISTICS}::test_renorm_is_keras_own"],
    ),
    "a statistic not reset": (
        LAYER,
        "self._assign(values if",
        "self._assign(values[:1] if",
        [f"{TEST_STATISTICS}::test_reset"],
    ),
    "shapes not looked at": (
        LAYER,
        "        self._refuse_shape(inputs.shape)\n",
        "",
        [f"{TEST_REFUSALS}::test_call_changes_no_statistic"],
    ),
    "a momentum that is not the flag's": (
        "recipes/frame/usual.py",
        'momentum=getattr(settings, "momentum", 0.0))',
        'momentum=getattr(settings, "momentum", 0.0), nesterov=True)',
        [f"{TEST_TRAINING}::test_sgd_is_the_textbooks"],
    ),
    "test accuracy of the training images": (
        CLASSIFICATION,
        'f"val_{main}{name}"',
        'f"{main}{name}"',
        [f"{TEST_TRAINING}::test_records_hold_what_the_net_does_on_the_test_images"],
    ),
    "variance for standard deviation in the initializer": (
        "recipes/nets/kernels.py",
        'stddev=float(name.removeprefix("normal_"))',
        'stddev=float(name.removeprefix("normal_")) ** 0.5',
        [f"{TEST_VGG}::test_initializers_have_the_standard_deviation_that_they_name"],
    ),
    "a bound of chance by hand": (
        IMAGES,
        "scipy.stats.binom.isf(1e-5, self.test_size, self.chance) / self.test_size",
        "self.chance + 5 * (self.chance * (1 - self.chance) / self.test_size) ** 0.5",
        [f"{TEST_TASKS}::test_verdicts_of_a_classification", f"{TEST_SOURCES}::test_digits_are_scikit_learns_split_by_class"],
    ),
    "a constant channel divided by its rounding": (
        IMAGES,
        "np.where(deviation <= 1e-6 * abs(mean), 1.0, deviation)",
        "np.where(deviation == 0, 1.0, deviation)",
        [f"{TEST_SOURCES}::test_a_constant_channel_becomes_0"],
    ),
    "order of an epoch not a function of it": (
        IMAGES,
        "tf.constant(seed, tf.int64), epoch]",
        "tf.constant(seed, tf.int64), tf.zeros_like(epoch)]",
        [f"{TEST_IMAGES}::test_the_order_depends_on_seed_and_epoch_alone"],
    ),
    "seeds of dropout not resumed": (
        CHECKPOINT,
        "        variable.assign(array)",
        '        if "seed" not in variable.path:\n            variable.assign(array)',
        [f"{TEST_TRAINING}::test_a_training_that_is_killed_ends_where_it_would_have_ended"],
    ),
    "momenta not resumed": (
        CHECKPOINT,
        "        variable.assign(array)",
        '        if "momentum" not in variable.path:\n            variable.assign(array)',
        [f"{TEST_TRAINING}::test_a_training_that_is_killed_ends_where_it_would_have_ended"],
    ),
    "epochs start over": (
        TRAINING,
        'training.hyperparameters["seed"], first, part)',
        'training.hyperparameters["seed"], 0, part)',
        [f"{TEST_TRAINING}::test_a_training_that_is_killed_ends_where_it_would_have_ended"],
    ),
    "test images normalised by themselves": (
        IMAGES,
        "return (x - self.mean) / self.deviation, y",
        "return (x - tf.reduce_mean(x, (0, 1, 2))) / self.deviation, y",
        [f"{TEST_SOURCES}::test_training_images_are_normalised_by_their_own_channels_and_test_images_by_the_same"],
    ),
    "weight decay twice": (
        KERNELS,
        "keras.regularizers.L2(weight_decay / 2)",
        "keras.regularizers.L2(weight_decay)",
        [f"{TEST_VGG}::test_weight_decay_adds_itself_times_the_kernel_to_the_gradient"],
    ),
    "one initializer for all layers": (
        KERNELS,
        '{"kernel_initializer": initial(initializer),',
        '{"kernel_initializer": keras.initializers.GlorotUniform(seed=1),',
        [f"{TEST_VGG}::test_no_two_layers_start_with_the_same_values"],
    ),
    "auxiliary loss not weighted": (
        VGG,
        "AUXILIARY_LOSS_WEIGHT = 0.3",
        "AUXILIARY_LOSS_WEIGHT = 1.0",
        [f"{TEST_TRAINING}::test_the_loss_of_auxiliary_classifiers_counts_0_3"],
    ),
    "dense layers not grown": (
        VGG,
        "copied = convolutions[:4] + dense",
        "copied = convolutions[:4]",
        [f"{TEST_VGG}::test_growing_copies_four_convolutions_and_the_dense_layers"],
    ),
    "standard deviation with divisor N": (
        CLAIMS,
        "statistics.stdev(present)",
        "statistics.pstdev(present)",
        [f"{TEST_EXPERIMENT}::test_the_table_has_means_deviations_and_verdicts"],
    ),
    "layers before stay where they were": (
        SHIFT,
        "one if index in stage.earlier else other",
        "other",
        [f"{TEST_OWN}::test_a_train_step_of_one_s_own"],  # With a compiled loss, what the layers before compute is taken from a record.
    ),
    "layers in the order in which the model holds them": (
        ORDER,
        "for index in sorted(moments, key=moments.get)]",
        "for index in moments]",
        [f"{TEST_SHIFT}::test_equals_the_definition"],
    ),
    "a cell apart from the layer that repeats it": (
        ORDER,
        "for layer in (*layers, *repeating)",
        "for layer in layers",
        [f"{TEST_SHIFT}::test_a_recurrent_layer_is_one_with_its_cell_and_picked_by_its_own_name"],
    ),
    "up the gradient": (
        LANDSCAPE,
        "weight - tf.cast(step_size, weight.dtype) * gradient",
        "weight + tf.cast(step_size, weight.dtype) * gradient",
        [f"{TEST_LANDSCAPE}::test_equals_numpy"],
    ),
    "smoothness not by the gradient's norm": (
        LANDSCAPE,
        "changes / (step_sizes * norm)",
        "changes / step_sizes",
        [f"{TEST_LANDSCAPE}::test_equals_numpy"],
    ),
    "mean of ratios": (
        VARIANCES,
        "ratio=float(_either_way(variance.mean(), moving_variance.mean()))",
        "ratio=float(_either_way(variance, moving_variance).mean())",
        [f"{TEST_VARIANCES}::test_equals_numpy"],
    ),
    "dropout's noise on deviations only": (
        NORMALIZATION,
        "before = _Spread(before, tf.square(tf.cast(_present(inputs), tf.float64)))",
        "before = _Spread(before, tf.square(tf.cast(_present(inputs), tf.float64) - tf.reduce_mean(tf.cast(_present(inputs), tf.float64), 0)))",
        [f"{TEST_VARIANCES}::test_the_prediction_for_dropout_is_what_it_does", f"{TEST_VARIANCES}::test_the_paper_s_numbers_for_relu"],
    ),
    "dropout seen where it is not": (
        NORMALIZATION,
        "tf.nest.map_structure(tf.identity, call())",
        "call()",
        [f"{TEST_VARIANCES}::test_dropout_elsewhere_predicts_nothing"],
    ),
    "gradient ratio upside down": (
        ACTIVATIONS,
        "np.divide(before**2, after**2)",
        "np.divide(after**2, before**2)",
        [f"{TEST_ACTIVATIONS}::test_equals_numpy", f"{TEST_ACTIVATIONS}::test_gradients_of_a_relu_net_grow_as_mean_field_theory_says"],
    ),
    "sample at equal distances": (
        ACTIVATIONS,
        "tf.float64) + within)",
        "tf.float64) + 0.5)",
        [f"{TEST_ACTIVATIONS}::test_what_is_sampled_of_images_does_not_depend_on_where_it_stands"],
    ),
    "state after the step": (
        UPDATES,
        "            snapshot, rate, batch = before()\n",
        "            snapshot, rate, batch = before()\n            snapshot = snapshot._replace(state=evaluation.values(self.net.non_trainable_variables))\n",
        [f"{TEST_NUMBERS}::test_dropout_masks_are_those_of_the_step"],
    ),
    "batch of its own shape": (
        TRAIN_BATCH,
        "return tf.data.experimental.from_variant(tf.data.experimental.to_variant(dataset), structure=spec)",
        "return dataset",
        [f"{TEST_IDENTITY}::test_nothing_is_traced_for_steps_that_are_measured"],
    ),
    "stand-in left in place": (
        TRAIN_BATCH,
        "        self._model.train_function = self.train_function\n        if not isinstance",
        "        if not isinstance",
        [f"{TEST_CALLBACK_REFUSALS}::test_a_stand_in_that_was_not_used_is_taken_away"],
    ),
    "updates that were not made are measured": (
        UPDATES,
        "        if self._clock.updates() == step:\n",
        "        if False:\n",
        [f"{TEST_IDENTITY}::test_training_is_the_same"],
    ),
    "updates left out are forgotten": (
        CLOCK,
        "            self.read()\n            self._calls_a_batch",
        "            self._calls += 1\n            self._calls_a_batch",
        [f"{TEST_IDENTITY}::test_training_is_the_same"],
    ),
    "stand-in not released": (
        INSTRUMENT,
        "        train_batch.release(self.model)\n",
        "",
        [f"{TEST_CALLBACK_REFUSALS}::test_a_stand_in_that_was_not_used_is_taken_away"],
    ),
    "numbers that count trainable layers only": (
        ORDER,
        "            if not stages or stages[-1].layer() is not owner:\n                number = len(stages) + 1",
        "            if not stages or stages[-1].layer() is not owner:\n                number = sum(bool(stage.kernels) for stage in stages) + 1",
        [f"{TEST_SHIFT}::test_layers_keep_their_names_whatever_is_frozen", f"{TEST_PROGRAMS}::test_gradual_unfreezing"],
    ),
    "frozen weights left as a model had them when it was prepared": (
        PREPARED,
        "if signature is None or not signature.is_of(model):",
        "if signature is None:",
        [f"{TEST_PROGRAMS}::test_gradual_unfreezing", f"{TEST_PREPARED}::test_a_loss_that_is_compiled_anew_counts"],
    ),
    "a frozen layer without weights not noticed": (
        PREPARED,
        "(len(trainables), trainable)",
        "(len(trainables),)",
        [f"{TEST_PREPARED}::test_a_layer_that_is_frozen_counts_though_it_has_no_trainable_weight"],
    ),
    "prepared anew at every call": (
        PREPARED,
        "    if key not in instances:\n",
        "    if True:\n",
        [f"{TEST_PREPARED}::test_a_second_call_traces_nothing", f"{TEST_PREPARED}::test_options_are_prepared_apart"],
    ),
    "models kept alive by what was prepared": (
        PREPARED,
        "        instances[key] = kind(model, *options)\n",
        "        instances[key] = kind(model, *options)\n        vars(keras).setdefault('kept', []).append(instances[key])\n",
        [f"{TEST_PREPARED}::test_a_model_that_was_measured_by_a_loss_that_refers_to_it_is_not_kept_alive"],
    ),
    "assignments of an evaluation kept": (
        EVALUATION,
        "    with Scope(state_mapping=pairs, collect_losses=True) as scope:",
        "    for variable, value in pairs:\n        variable.assign(value + 1 if variable.dtype == 'uint32' else value)\n"
        "    with Scope(state_mapping=pairs, collect_losses=True) as scope:",
        [f"{TEST_NO_TRACE}::test_nothing_of_the_model_changes"],
    ),
    "losses that layers add left out": (
        EVALUATION,
        "state_mapping=pairs, collect_losses=True)",
        "state_mapping=pairs)",
        [f"{TEST_LANDSCAPE}::test_losses_that_layers_add_count_and_leave_no_trace"],
    ),
    "a loss without dropout and batch statistics": (
        OBJECTIVE,
        "compiled_loss(model, batch, model(batch.x, training=True))",
        "compiled_loss(model, batch, model(batch.x, training=False))",
        [f"{TEST_LANDSCAPE}::test_equals_numpy", f"{TEST_NUMBERS}::test_dropout_masks_are_those_of_the_step"],
    ),
    "a call too many from the record": (
        RECORDED,
        "iter(self._calls[:first])",
        "iter(self._calls[: first + 1])",
        [f"{TEST_SHIFT}::test_equals_the_definition"],
    ),
    "what recorded calls assigned is forgotten": (
        RECORDED,
        "            evaluation.current_scope().state_mapping.update(changes)\n",
        "",
        [f"{TEST_SHIFT}::test_dropout_that_is_called_twice_draws_the_same_second_mask"],
    ),
    "targets for inputs": (
        BATCHES,
        "for x, _, _ in examples(data, size, number):",
        "for _, x, _ in examples(data, size, number):",
        [f"{TEST_VARIANCES}::test_equals_numpy"],
    ),
    "the last batch of arrays left out": (
        BATCHES,
        "range(0, lengths[0], size)",
        "range(0, lengths[0] - size + 1, size)",
        [f"{TEST_VARIANCES}::test_equals_numpy"],
    ),
    "built for one batch size": (
        BUILDING,
        "(None, *value.shape[1:])",
        "(1, *value.shape[1:])",
        [f"{TEST_PROGRAMS}::test_a_model_that_is_not_built_is_built_from_the_first_batch"],
    ),
    "a model that says that it is built believed": (
        BUILDING,
        "(model.built and all(layer.built for layer in keras_internals.layers_within(model)))",
        "model.built",
        [f"{TEST_PROGRAMS}::test_a_model_that_is_not_built_is_built_from_the_first_batch"],
    ),
    "other nets and seed generators as they are after the step": (
        OBJECTIVE,
        "        with evaluation.stateless(model, snapshot, self._others):\n",
        "        with evaluation.stateless(model, snapshot._replace(others=())):\n",
        [f"{TEST_OWN}::test_a_train_step_of_one_s_own"],
    ),
    "a record of outputs for a loss that differentiates by its inputs": (
        SHIFT,
        "        self._records = loss is None\n",
        "        self._records = True\n",
        [f"{TEST_OWN}::test_a_train_step_of_one_s_own"],
    ),
    "numbers drawn anew at each evaluation": (
        OBJECTIVE,
        "    if drawing:\n",
        "    if False:\n",
        [f"{TEST_OWN}::test_a_loss_that_is_none_is_refused"],
    ),
    "one replica's batch taken for the whole": (
        WORKERS,
        "return parts[0] if len(parts) == 1 else tf.concat(parts, 0)",
        "return parts[0]",
        [f"{TEST_OWN}::test_a_loop_over_replicas"],
    ),
    "no word where the batch cannot be seen": (
        UPDATES,
        "        if self._expected:\n            self._record",
        "        if False:\n            self._record",
        [f"{TEST_OWN}::test_callbacks_that_cannot_see_the_batch_say_so_once"],
    ),
    "steps of an optimizer that updates nothing": (
        CLOCK,
        "        if self.updates_nothing:\n            self._calls += 1\n",
        "        if False:\n            self._calls += 1\n",
        [f"{TEST_OWN}::test_a_loop_without_an_optimizer_of_keras_counts_its_contexts"],
    ),
    "each instrument spends the budget of all": (
        INSTRUMENT,
        "if one is not self and one.every is None)]",
        "if False)]",
        [f"{TEST_SCHEDULE}::test_instruments_share_what_a_default_schedule_may_take"],
    ),
    "no measurement at the end": (
        SCHEDULE,
        "if step in steps[:-1]), steps[-1]]",
        "if step in steps)]",
        [f"{TEST_SCHEDULE}::test_every_instrument_has_eight_records_of_22_steps_in_fit"],
    ),
    "lag upside down": (
        VARIANCES,
        "lag=_ratio(training_variance, moving_variance)",
        "lag=_ratio(moving_variance, training_variance)",
        [f"{TEST_VARIANCES}::test_lag_is_what_the_moving_variance_is_off_by"],
    ),
    "a pooled variance beside the mean of the batches'": (
        VARIANCES,
        "mode=_ratio(within_batches, training_variance)",
        "mode=_ratio(variance, training_variance)",
        [f"{TEST_VARIANCES}::test_lag_is_what_the_moving_variance_is_off_by"],
    ),
    "one mask for all batches": (
        EVALUATION,
        "value + tf.cast([0, index], value.dtype) if",
        "value if",
        [f"{TEST_VARIANCES}::test_each_batch_has_masks_of_its_own"],
    ),
    "Dropout through weights that are not squared": (
        NORMALIZATION,
        "{id(kernel): tf.square(before[id(kernel)])}",
        "{id(kernel): before[id(kernel)]}",
        [f"{TEST_VARIANCES}::test_mode_is_dropout_s_part_and_predicted_through_a_linear_layer"],
    ),
    "a bias among what Dropout spreads": (
        NORMALIZATION,
        "{id(bias): tf.zeros_like(before[id(bias)])}",
        "{}",
        [f"{TEST_VARIANCES}::test_mode_is_dropout_s_part_and_predicted_through_a_linear_layer"],
    ),
    "Dropout predicted through an activation": (
        NORMALIZATION,
        " and layer.activation is keras.activations.linear",
        "",
        [f"{TEST_VARIANCES}::test_dropout_elsewhere_predicts_nothing"],
    ),
    "a generator's first batch lost": (
        VARIANCES,
        "        parts = itertools.chain([first], parts)  # A generator gives each batch once.\n",
        "",
        [f"{TEST_VARIANCES}::test_a_generator_s_first_batch_counts_where_the_model_is_to_be_built"],
    ),
    "a channel that is masked throughout counted as dead": (
        ACTIVATIONS,
        "_share(dead if counted is None else tf.boolean_mask(dead, tf.reduce_any(counted, others)))",
        "_share(dead)",
        [f"{TEST_ACTIVATIONS}::test_where_nothing_counts_there_is_no_number"],
    ),
    "moments of no value taken for 0": (
        ACTIVATIONS,
        "[tf.where(count > 0, value, np.nan) for value in moments]",
        "moments",
        [f"{TEST_ACTIVATIONS}::test_where_nothing_counts_there_is_no_number"],
    ),
    "a number of what does not train": (
        TRAIN_BATCH,
        "    if _first_trainables.setdefault(function, {}).setdefault(id(net), trainables) != trainables:\n",
        "    if False:\n",
        [f"{TEST_CALLBACK_REFUSALS}::test_trainable_that_was_changed_without_compiling_is_an_error_not_a_number"],
    ),
    "ragged inputs handed to `call`": (
        LAYER,
        "outputs = self._dense(values, training, None)",
        "outputs = self.call(values, training)",
        [f"{TEST_SUBCLASSES}::test_a_call_around_ragged_inputs_is_made_once"],
    ),
    "an error for a number that was measured": (
        INSTRUMENT,
        "        if attempt.error is not None:\n            self.history",
        "        if True:\n            self.history",
        [f"{TEST_CALLBACK_REFUSALS}::test_a_log_that_fails_leaves_the_numbers"],
    ),
    "masked values among the percentiles": (
        ACTIVATIONS,
        "_sample(values, axis, call.mask)",
        "_sample(values, axis, None)",
        [f"{TEST_ACTIVATIONS}::test_masked_positions_count_in_nothing", f"{TEST_ACTIVATIONS}::test_a_mask_of_each_position_is_read_along_the_axis"],
    ),
    "masked values of the activation": (
        ACTIVATIONS,
        "counted = _counted(outputs, axis, call.mask)",
        "counted = None",
        [f"{TEST_ACTIVATIONS}::test_masked_positions_count_in_nothing"],
    ),
    "means rounded to float32": (
        MOMENTS_OF_CHANNELS,
        "functional.moments(tf.cast(values, tf.float64), axis, mask)",
        "functional.Moments(*(tf.cast(value, tf.float64) for value in functional.moments(tf.cast(values, tf.float32), axis, mask)))",
        [f"{TEST_VARIANCES}::test_means_far_from_0_are_float64_s", f"{TEST_ACTIVATIONS}::test_means_are_those_of_the_inputs_not_rounded_to_float32"],
    ),
    "dropouts known by their names": (
        NORMALIZATION,
        "if isinstance(layer, keras.layers.Dropout | keras.layers.GaussianDropout):",
        'if "Dropout" in type(layer).__name__ and hasattr(layer, "rate"):',
        [f"{TEST_VARIANCES}::test_dropouts_are_known_by_what_they_are"],
    ),
    "a quantity without its chart": (
        ACTIVATIONS,
        '"no channel is dead", _NONLINEARITY,',
        '"no channel is dead", None,',
        [f"{TEST_QUANTITIES}::test_only_these_have_no_chart"],
    ),
    "due one step late": (
        SCHEDULE,
        "step % self._every == 0",
        "step % self._every == 1 % self._every",
        [f"{TEST_NUMBERS}::test_schedules", f"{TEST_NUMBERS}::test_schedules_after_steps"],
    ),
    "history that is no JSON": (
        INSTRUMENT,
        "value if math.isfinite(value) else None",
        "value",
        [f"{TEST_PROGRAMS}::test_history_is_json_whatever_is_measured"],
    ),
    "the clock of another optimizer": (
        UPDATES,
        "        self._follow_optimizer()\n",
        "",
        [f"{TEST_PROGRAMS}::test_a_model_compiled_anew_within_an_epoch"],
    ),
    "masked NaN reaches the gradient": (
        MASKS,
        "    return x if mask is None else tf.where(mask | tf.math.is_finite(x), x, tf.zeros([], x.dtype))",
        "    return x",
        [f"{TEST_INPUTS}::test_a_masked_nan_reaches_no_gradient", f"{TEST_INPUTS}::test_masked_positions_change_no_gradient_whatever_they_hold"],
    ),
    "a difference of infinities": (
        SHIFTED,
        "tf.where(tf.math.is_inf(squared), squared, tf.maximum(squared - tf.square(error), 0))",
        "tf.maximum(squared - tf.square(error), 0)",
        [f"{TEST_RANGE}::test_finite_values_whose_squares_are_not_give_no_nan"],
    ),
    "no share of an infinite variance": (
        MOMENTS,
        "tf.math.multiply_no_nan(moving, share_kept)",
        "moving * kept",
        [f"{TEST_RANGE}::test_finite_values_whose_squares_are_not_give_no_nan"],
    ),
    "inference in the form that cancels": (
        FORMS,
        "    y = (tf.cast(x, dtype) + along(-1.0 * mean, x, axis)) * along(factor, x, axis)\n",
        "    y = tf.cast(x, dtype) * along(factor, x, axis) + along(-1.0 * mean * factor, x, axis)\n",
        [f"{TEST_RANGE}::test_inference_far_from_zero_agrees_with_training"],
    ),
    "inference by a subtraction": (
        FORMS,
        "along(-1.0 * mean, x, axis)",
        "along(-mean, x, axis)",
        [f"{TEST_EXPORTS}::test_tflite_folds_what_it_folds_of_keras_layer"],
    ),
    "the kernel in exports": (
        DISPATCH,
        "    if synchronized or forwards or not differentiated:\n",
        "    if synchronized or forwards:\n",
        [f"{TEST_EXPORTS}::test_onnx", f"{TEST_DISPATCH}::test_a_graph_without_a_tape_holds_plain_operations_only"],
    ),
    "gradients by hand in forward mode": (
        DISPATCH,
        "    if synchronized or forwards or not differentiated:\n",
        "    if synchronized or not differentiated:\n",
        [f"{TEST_DERIVATIVES}::test_reverse_over_forward"],
    ),
    "many tiny examples summed in float32": (
        FUSED,
        "tf.cast(x, tf.float64), tf.maximum(tf.cast(count, tf.float64), 1)",
        "tf.cast(x, tf.float32), tf.maximum(count, 1)",
        [f"{TEST_PATHS}::test_variance_of_many_values_in_single_operations"],
    ),
    "a frozen layer's factor rounded to half precision": (
        FORMS,
        "tf.cast(dy_cast * (gamma * r), dy.dtype)",
        "dy * tf.cast(gamma * r, dy.dtype)",
        [f"{TEST_RANGE}::test_a_frozen_layer_rounds_its_gradient_once"],
    ),
    "0 times infinity between replicas": (
        REPLICAS,
        "tf.where(this_row[:, tf.newaxis], row, 0.0)",
        "tf.cast(this_row, row.dtype)[:, tf.newaxis] * row",
        [f"{TEST_REPLICAS}::test_finite_values_whose_squares_are_not_give_no_nan"],
    ),
    "a reshape to size 0 in ONNX": (
        FORMS,
        "return value[whole * size :][tf.newaxis]",
        "return tf.reshape(value[whole * size :], tf.concat([[1, tf.shape(value)[0] - whole * size], tf.shape(value)[1:]], 0))",
        [f"{TEST_EXPORTS}::test_onnx_of_virtual_batches"],
    ),
    "a trace for every shape": (
        SHARED,
        "(tensor.dtype, tensor.shape.rank) for tensor",
        "(tensor.dtype, tensor.shape.rank, tuple(tensor.shape)) for tensor",
        [f"{TEST_LAYER}::test_one_trace_serves_all_layers_and_shapes"],
    ),
    "shapes lost behind a function of its own": (
        SHARED,
        "        first = tf.ensure_shape(first, tensors[0].shape)\n",
        "        first.set_shape(tensors[0].shape)\n",
        [f"{TEST_PATHS}::test_operations_show_the_graph_optimiser_the_shape_of_what_a_function_of_its_own_returns"],
    ),
    "zeros through the kernel's statistics": (
        GRADIENTS,
        "        saved = [tf.stop_gradient(value) for value in saved]\n",
        "",
        [f"{TEST_PATHS}::test_hessian_vector_product_of_a_loss"],
    ),
    "the kernel always": (
        FUSED,
        "    return by_operations() if small else by_kernel(",
        "    return by_kernel(",
        [f"{TEST_DISPATCH}::test_the_kernel_takes_what_is_not_small"],
    ),
    "every weight a moving statistic": (
        LAYER,
        "if trainable or not self._adds_statistics:",
        "if trainable:",
        [f"{TEST_SUBCLASSES}::test_weights_of_its_own_are_as_it_says"],
    ),
    "ragged rows normalised with their padding": (
        LAYER,
        "        values = inputs.flat_values\n",
        "        values = tf.pad(inputs.flat_values, [[0, 1], [0, 0]])\n",
        [f"{TEST_INPUTS}::test_of_ragged_inputs_the_values_that_are_there_are_normalised"],
    ),
    "an event file that is cut ends the reading": (
        EVENTS,
        "contextlib.suppress(tf.errors.DataLossError)",
        "contextlib.suppress(EOFError)",
        [f"{TEST_EVENTS}::test_a_file_is_read_up_to_where_its_writer_was_killed"],
    ),
    "folders looked into by pathlib": (
        EVENTS,
        "names = tf.io.gfile.listdir(log_dir) if tf.io.gfile.isdir(log_dir) else []",
        "names = [path.name for path in __import__('pathlib').Path(log_dir).glob('*')]",
        [f"{TEST_EVENTS}::test_scalars_come_back", f"{TEST_LOG}::test_a_resumed_training_writes_nothing_twice_and_a_new_one_everything"],
    ),
    "whatever is a tensor is a scalar": (
        EVENTS,
        'value.metadata.plugin_data.plugin_name == "scalars"',
        'value.WhichOneof("value") == "tensor"',
        [f"{TEST_EVENTS}::test_scalars_of_other_writers_come_back_and_what_is_no_scalar_does_not"],
    ),
    "a resumed training logged twice": (
        LOG,
        "self._last_steps.get(tag, -1) >= step",
        "self._last_steps.get(tag, -1) > step",
        [f"{TEST_LOG}::test_a_resumed_training_writes_nothing_twice_and_a_new_one_everything", TEST_NUMBERS],
    ),
    "a new training that continues another": (
        LOG,
        "self._earlier, self._last_steps, self._written = [], {}, {}",
        "self._earlier = []",
        [
            f"{TEST_LOG}::test_a_resumed_training_writes_nothing_twice_and_a_new_one_everything",
            f"{TEST_NUMBERS}::test_a_new_training_is_logged_into_a_folder_that_has_one",
        ],
    ),
    "summaries while Keras's callback has them switched off": (
        EVENTS,
        "with tf.summary.record_if(True), writer.as_default():",
        "with writer.as_default():",
        [f"{TEST_NUMBERS}::test_keras_s_own_callback_does_not_keep_it_from_being_logged"],
    ),
    "a chart with the tags of longer names": (
        DASHBOARD,
        """{'/' if quantity.by_layer else '$'}""",
        "",
        [f"{TEST_QUANTITIES}::test_every_quantity_is_on_its_chart_alone"],
    ),
    "colours of a linear scale": (
        HEATMAP,
        "colors.LogNorm(lowest, highest) if logarithmic else colors.Normalize(lowest, highest)",
        "colors.Normalize(lowest, highest)",
        [f"{TEST_HEATMAP}::test_colours_are_those_of_the_numbers_whatever_the_theme"],
    ),
    "a file written in its place": (
        FILES,
        'temporary = path.with_name(f".{path.name}{TEMPORARY}")',
        "temporary = path",
        [f"{TEST_EXPERIMENT}::test_a_file_is_there_whole_or_not_at_all"],
    ),
    "a folder on another machine taken for a local one": (
        FILES,
        'if "://" in str(value):',
        "if False:",
        [f"{TEST_SOURCES}::test_a_folder_on_another_machine_is_refused"],
    ),
    "finished trainings trained again": (
        EXPERIMENT,
        "return (result, records) if is_whole else None",
        "return None",
        [f"{TEST_EXPERIMENT}::test_finished_trainings_are_not_trained_again_and_more_of_them_are_added"],
    ),
    "a longer training that begins in another place": (
        TRAINING,
        "math.ceil(step / steps_a_record)",
        "math.floor(step / steps_a_record)",
        [f"{TEST_TRAINING}::test_a_longer_training_goes_on_where_a_shorter_one_ended"],
    ),
    "chance that is above it": (
        VERDICTS,
        "score > chance_bound else",
        "score >= chance_bound else",
        [f"{TEST_TASKS}::test_edges"],
    ),
    "other data in an experiment's folder": (
        WORKDIR,
        'if earlier["data"] != self.config["data"]:',
        "if False:",
        [f"{TEST_WORKDIR}::test_other_data_is_refused"],
    ),
    "two processes in one folder": (
        WORKDIR,
        "            self._lock.acquire(timeout=0)\n",
        "",
        [f"{TEST_WORKDIR}::test_a_folder_in_use_is_refused"],
    ),
    "a resumed training that starts over": (
        TRAINING,
        "        checkpoint.restore(path, net)\n    step =",
        "        pass\n    step =",
        [f"{TEST_TRAINING}::test_a_training_that_is_killed_ends_where_it_would_have_ended"],
    ),
    "a checkpoint without the optimizer": (
        CHECKPOINT,
        " + net.optimizer.variables",
        " + net.optimizer.variables[:1]",
        [f"{TEST_TRAINING}::test_a_checkpoint_holds_every_variable", f"{TEST_TRAINING}::test_a_training_that_is_killed_ends_where_it_would_have_ended"],
    ),
    "an error that is half of Student's": (
        CLAIMS,
        "scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1)",
        "scipy.stats.t.ppf(CONFIDENCE, len(values) - 1)",
        [f"{TEST_CLAIMS}::test_an_interval_is_student_s"],
    ),
    "a difference that is taken for one within its error": (
        CLAIMS,
        "if lower < found.lower and found.upper < upper:",
        "if lower < found.mean < upper:",
        [f"{TEST_CLAIMS}::test_a_mean_lies_between_bounds_with_its_error"],
    ),
    "what is not decided does not hold": (
        CLAIMS,
        "if found.upper <= lower or found.lower >= upper else NOT_TESTABLE",
        "",
        [f"{TEST_CLAIMS}::test_a_mean_lies_between_bounds_with_its_error"],
    ),
    "what is not decided in one case holds partly": (
        CLAIMS,
        "if {HOLDS, DOES_NOT_HOLD} <= given:",
        "if len(given) > 1:",
        [f"{TEST_CLAIMS}::test_bounds_hold_in_all_some_or_none_of_the_cases"],
    ),
    "the numbers of all seeds against each other": (
        CLAIMS,
        "differences = [a - b for a, b in pairs]",
        "differences = [a - b for a, _ in pairs for _, b in pairs]",
        [f"{TEST_CLAIMS}::test_what_is_compared_are_differences_seed_by_seed"],
    ),
    "a training that was too short is judged": (
        EVIDENCE,
        "None if settled and verdicts.is_too_short(said[run]) else arrays",
        "arrays",
        [f"{TEST_EVIDENCE}::test_trainings_that_were_too_short_or_diverged_have_no_number"],
    ),
    "a diverged training is left out": (
        EVIDENCE,
        "return np.array([math.nan]) if verdict == verdicts.DIVERGED else None",
        "return None",
        [f"{TEST_EVIDENCE}::test_trainings_that_were_too_short_or_diverged_have_no_number"],
    ),
    "the first value where the usual one is there": (
        EVIDENCE,
        "usual if usual in set(rows[name]) else rows[name].iloc[0]",
        "rows[name].iloc[0]",
        [f"{TEST_EVIDENCE}::test_of_several_values_the_usual_one_counts_or_the_first"],
    ),
    "infinite numbers are left out": (
        EVIDENCE,
        "ordered = sorted(LARGEST if math.isnan(value) else min(max(value, SMALLEST), LARGEST) for value in values)",
        "ordered = sorted(value for value in values if 0 < value < math.inf)",
        [f"{TEST_EVIDENCE}::test_summaries"],
    ),
    "lag that is not looked for": (
        VERDICTS,
        "return LAGS if reached - score > LAG_SHARE * (reached - chance) else LEARNED",
        "return LEARNED",
        [f"{TEST_TASKS}::test_edges"],
    ),
    "a training that rests said to be too short": (
        CLASSIFICATION,
        "return later - earlier > ERRORS * error",
        "return later - earlier > 0",
        [f"{TEST_TASKS}::test_a_training_whose_accuracy_rises_or_with_few_records_is_too_short_to_judge"],
    ),
    "re-estimated statistics that stay": (
        "recipes/frame/instruments.py",
        "            changes.undo()",
        "            pass",
        [f"{TEST_INSTRUMENTS}::test_the_score_with_re_estimated_statistics_is_of_the_net_with_them"],
    ),
    "a reference that is not of the class means": (
        IMAGES,
        "offsets - 2 * x @ means.T",
        "offsets - x @ means.T",
        [f"{TEST_IMAGES}::test_the_reference_is_the_nearest_class_mean"],
    ),
    "what is there is not kept when an experiment grows": (
        WORKDIR,
        "[*there, *(value for value in now if value not in there)]",
        "now",
        [f"{TEST_WORKDIR}::test_lists_and_lengths_are_extended"],
    ),
    "links that hand on no masks": (
        CHAIN,
        "if mask is not None:",
        "if mask is None:",
        [f"{TEST_CHAIN}::test_links_make_the_numbers_of_one_graph"],
    ),
    "links that forget what layers add to the loss": (
        CHAIN,
        "[*carried.losses, *computed.losses]",
        "[*carried.losses]",
        [f"{TEST_CHAIN}::test_links_make_the_numbers_of_one_graph"],
    ),
    "links that forget what layers assign": (
        CHAIN,
        "            state[index] = value\n",
        "            pass\n",
        [f"{TEST_CHAIN}::test_links_make_the_numbers_of_one_graph"],
    ),
    "a pass that begins a link late": (
        CHAIN,
        "link.from_first(number >= first,",
        "link.from_first(number > first,",
        [f"{TEST_CHAIN}::test_links_make_the_numbers_of_one_graph"],
    ),
    "penalties of kernels are not differentiated": (
        CHAIN,
        "results = [completed.at_loss[self._kernels.index(index)] for index in indices]",
        "results = [None for index in indices]",
        [f"{TEST_CHAIN}::test_links_make_the_numbers_of_one_graph"],
    ),
    "models within models are not cut": (
        FUNCTIONAL_CALLS,
        "return keras_internals.functional_graph(node.operation) if plain else None",
        "return None",
        [f"{TEST_CHAIN}::test_a_model_is_cut_where_its_kernels_are_also_within_models_that_it_holds"],
    ),
    "layers of functional models are not told that it is training": (
        "keras_bn/keras_internals.py",
        "return operation_fn(operation, training=True)",
        "return operation_fn(operation, training=False)",
        [f"{TEST_CHAIN}::test_links_make_the_numbers_of_one_graph"],
    ),
    "the update's size by the kernel after it": (
        SHIFT,
        "/ square([now for now, _ in each])",
        "/ square([later for _, later in each])",
        [f"{TEST_SHIFT}::test_the_update_s_size_is_that_of_the_kernel_alone"],
    ),
    "Dropout is blamed for warming up": (
        RULES_OF_SHIFTS,
        "names = [layer] if any(name in lagging for name in up_to(layer, layers)) else behind_a_dropout_of_their_own(layer, layers)",
        "names = behind_a_dropout_of_their_own(layer, layers)",
        [f"{TEST_OF_VARIANCES}::test_warming_up_says_how_long_it_lasts"],
    ),
    "Dropout is why, whatever its closed form says": (
        RULES_OF_SHIFTS,
        "and explained(layer) >= size}",
        "and explained(layer) >= 0}",
        [f"{TEST_OF_VARIANCES}::test_dropout_is_not_why_where_its_closed_form_says_otherwise"],
    ),
    "what one call of a layer adds to the loss is forgotten in the next": (
        CHAIN,
        "_within_model(model, lambda: self._compute(values))",
        "self._compute(values)",
        [f"{TEST_CHAIN}::test_links_make_the_numbers_of_one_graph"],
    ),
    "one standard error is enough": (
        CONCLUSION,
        "CERTAIN = 3.0",
        "CERTAIN = 1.0",
        [f"{TEST_OF_VARIANCES}::test_certain_is_more_than_what_batches_scatter_by_where_they_are_few"],
    ),
    "layers that hardly move count": (
        OF_SHIFTS,
        "if size >= ROUNDING}",
        "if size >= 0}",
        [f"{TEST_CONCLUSIONS}::test_layers_that_hardly_move_are_named_and_do_not_count"],
    ),
    "a net that has learned nothing is praised": (
        CONCLUSION,
        "    if len(losses) < LEAST_LOSSES:",
        "    if True:",
        [f"{TEST_CONCLUSIONS}::test_a_net_that_does_not_learn_is_said_to"],
    ),
    "the rule of one": (
        WORDS,
        "min(1, 3 / examples)",
        "min(1, 1 / examples)",
        [f"{TEST_CONCLUSIONS}::test_activations_say_what_a_batch_can_tell"],
    ),
    "the summary names the best layer": (
        QUANTITIES,
        "largest = max(candidates",
        "largest = min(candidates",
        [f"{TEST_QUANTITIES}::test_the_summary_has_the_worst_of_all_layers_and_which_that_is"],
    ),
    "the moving variance has no scatter": (
        RULES_OF_SHIFTS,
        "(1 - momentum) / (1 + momentum)\n",
        "0.0\n",
        [f"{TEST_VARIANCES}::test_the_error_is_what_batches_and_the_moving_variance_scatter"],
    ),
    "a bias that is read before its kernel moves with the layers before": (
        ORDER,
        "frozenset(used) - own",
        "frozenset(used)",
        [f"{TEST_COMPILED}::test_a_program_is_measured_and_not_changed[masked_sequence]"],
    ),
    "what is measured changes the program": (
        EVALUATION,
        "with Scope(state_mapping=pairs, collect_losses=True) as scope:",
        "with Scope(state_mapping=pairs, collect_losses=False) as scope:",
        [TEST_COMPILED],
    ),
    "layers within layers turned round": (
        "keras_bn/keras_internals.py",
        "[layer, *layers_within(layer)]",
        "[layer, *layers_within(layer)[::-1]]",
        [f"{TEST_ORDER}::test_batch_normalisation_layers_are_numbered_in_the_order_of_the_model"],
    ),
    "arrays in the order of a file": (
        BATCHES,
        "np.random.default_rng(0).permutation(lengths[0])",
        "np.arange(lengths[0])",
        [f"{TEST_VARIANCES}::test_arrays_are_cut_in_random_order"],
    ),
    "a lag of means in inference": (
        VARIANCES,
        "mean_lag=in_deviations(training_mean - moving_mean)",
        "mean_lag=in_deviations(mean - moving_mean)",
        [f"{TEST_VARIANCES}::test_lag_of_means_is_of_training_mode"],
    ),
    "the error of a mean that of a variance": (
        VARIANCES,
        "np.std(means, axis=0, ddof=1) if len(means) > 1",
        "np.std(means, ddof=1) if len(means) > 1",
        [f"{TEST_VARIANCES}::test_the_error_is_what_batches_and_the_moving_variance_scatter"],
    ),
    "what began is what is built": (
        VARIANCES,
        "variance.mean() / shift.training_variance.mean() - 1",
        "1 / shift.training_variance.mean() - 1",
        [f"{TEST_OF_VARIANCES}::test_what_is_left_of_the_beginning_is_exact"],
    ),
    "another optimizer's beginning": (
        AFTER_STEPS,
        "    def _begin_anew(self):\n        self._statistics = None\n",
        "    def _begin_anew(self):\n        pass\n",
        [f"{TEST_OF_VARIANCES}::test_what_is_left_of_the_beginning_is_exact"],
    ),
    "means do not lag": (
        RULES_OF_SHIFTS,
        'return larger_of_each(selected(record, "lag", layers), selected(record, "mean_lag", layers))',
        'return selected(record, "lag", layers)',
        [f"{TEST_OF_VARIANCES}::test_a_frozen_layer_of_other_inputs_is_found_by_its_means"],
    ),
    "any rest of the beginning is why": (
        RULES_OF_SHIFTS,
        "explained != 0 and 2 * besides <= abs(off)",
        "explained != 0",
        [f"{TEST_OF_VARIANCES}::test_a_lag_has_its_cause"],
    ),
    "layers in front leave no doubt": (
        RULES_OF_SHIFTS,
        'if quantity in ("mode", "mean_mode", "ratio") else [layer]',
        'if quantity == "none" else [layer]',
        [f"{TEST_OF_VARIANCES}::test_what_layers_in_front_leave_in_doubt_is_no_shift_of_those_behind"],
    ),
    "what batches differ by is off": (
        RULES_OF_SHIFTS,
        "if size > max(SMALL, scatter(record, layer, layers))}",
        "if size > 0}",
        [f"{TEST_OF_VARIANCES}::test_what_batches_scatter_by_anyway_is_nothing"],
    ),
    "since any cause": (
        OF_VARIANCES,
        "lambda record: layer in shifts.lags(record, layers, shifts.certain) and not shifts.warms(record, layer)",
        "lambda record: layer in shifts.lags(record, layers, shifts.certain)",
        [f"{TEST_OF_VARIANCES}::test_the_step_since_when_is_of_the_cause_that_is_named"],
    ),
    "steps that are needed from the share alone": (
        OF_VARIANCES,
        "math.log(LEFT / left) / math.log(momentum)",
        "math.log(LEFT / layers[layer].left) / math.log(momentum)",
        [f"{TEST_OF_VARIANCES}::test_warming_up_says_how_long_it_lasts"],
    ),
    "a trend in the scatter": (
        CONCLUSION,
        "np.median(abs(np.diff(losses))) / (_MEDIAN * math.sqrt(2))",
        "losses.std(ddof=1)",
        [f"{TEST_CONCLUSIONS}::test_a_net_that_learns_is_said_to_learn"],
    ),
    "the summary knows no names of the model's": (
        INSTRUMENT,
        "return conclusion._replace(finding=finding)",
        "return conclusion",
        [f"{TEST_CONCLUSIONS}::test_the_shift_that_dropout_makes_is_told_from_warming_up"],
    ),
    "two of a kind in one folder": (
        INSTRUMENT,
        "            self._refuse_twin()\n",
        "",
        [f"{TEST_CALLBACK_REFUSALS}::test_two_of_a_kind_in_one_folder_are_refused"],
    ),
    "two of a kind by hand": (
        LOG,
        "number > begun and other() is not author",
        "False",
        [f"{TEST_CALLBACK_REFUSALS}::test_two_of_a_kind_in_one_folder_by_hand_are_told_once"],
    ),
    "who wrote before the training began is a twin": (
        LOG,
        "number > begun and other() is not author",
        "other() is not author",
        [f"{TEST_NUMBERS}::test_resumed_training_goes_on_and_logs_nothing_twice"],
    ),
    "a loss is found out in the training": (
        UPDATES,
        "        self._refuse_loss(batch)\n",
        "",
        [f"{TEST_CALLBACK_REFUSALS}::test_a_loss_that_cannot_be_used_ends_the_training_before_its_first_step"],
    ),
    "a loss in inference mode passes": (
        OBJECTIVE,
        "self.uses_batch_statistics = _batch_statistics_used(model, scope, state)",
        "pass",
        [f"{TEST_CALLBACK_REFUSALS}::test_a_loss_in_inference_mode_is_warned_of"],
    ),
    "warnings that name our lines": (
        MESSAGES,
        "stacklevel=level",
        "stacklevel=2",
        [f"{TEST_CALLBACK_REFUSALS}::test_warnings_name_the_line_of_the_user_s"],
    ),
    "a training that goes on ends later": (
        INSTRUMENT,
        "self._clock.updates((epochs - epoch) * batches)",
        "self._clock.updates(epochs * batches)",
        [f"{TEST_SCHEDULE}::test_the_end_of_a_training_that_goes_on_is_known"],
    ),
    "arrays cut by 128 whatever the training does": (
        AFTER_STEPS,
        "batches.size_of(batch().x) or batches.BATCH_SIZE",
        "batches.BATCH_SIZE",
        [f"{TEST_OF_VARIANCES}::test_arrays_are_cut_as_the_training_cuts_them"],
    ),
    "a trace for each size": (
        EVALUATION,
        "(None, *value.shape[1:])",
        "value.shape",
        [f"{TEST_IDENTITY}::test_a_second_fit_traces_nothing_anew_unless_the_model_is_another"],
    ),
    "lags before modes, however small": (
        OF_VARIANCES,
        "    if lags and (explains or any(",
        "    if lags and (True or any(",
        [f"{TEST_OF_VARIANCES}::test_a_mode_that_is_far_larger_than_any_lag_is_named"],
    ),
    "modes that warming up makes are named": (
        OF_VARIANCES,
        "(explains or any(shifts.warms(last, layer) for layer in lags)):",
        "explains:",
        [f"{TEST_OF_VARIANCES}::test_a_mode_that_is_far_larger_than_any_lag_is_named"],
    ),
    "a small shift is off": (
        RULES_OF_SHIFTS,
        "SMALL = 0.1",
        "SMALL = 0.0",
        [f"{TEST_OF_VARIANCES}::test_what_batches_scatter_by_anyway_is_nothing"],
    ),
    "small lags explain no mode": (
        OF_VARIANCES,
        "in_front if explains else {}",
        "{}",
        [f"{TEST_OF_VARIANCES}::test_small_lags_in_front_add_up"],
    ),
    "few data are enough": (
        RULES_OF_SHIFTS,
        "if size > least or CERTAIN",
        "if CERTAIN",
        [f"{TEST_OF_VARIANCES}::test_moving_statistics_that_scatter_are_said_to"],
    ),
    "statistics that never move lag": (
        AFTER_STEPS,
        "moved=not (np.array_equal(",
        "moved=True or not (np.array_equal(",
        [f"{TEST_OF_VARIANCES}::test_statistics_that_never_move_are_told_from_those_that_lag"],
    ),
    "steps that are batches": (
        OF_VARIANCES,
        "math.ceil(updates_needed / layers[layer].calls_a_step)",
        "math.ceil(updates_needed)",
        [f"{TEST_OF_VARIANCES}::test_steps_that_are_needed_are_updates_of_the_optimizer"],
    ),
    "statistics that others have changed": (
        AFTER_STEPS,
        "or not _are_equal(self._at_end, self._moving_statistics())",
        "",
        [f"{TEST_OF_VARIANCES}::test_the_beginning_is_another_one_where_statistics_have_changed_between_two_fits"],
    ),
    "a stand-in for each step of a loop": (
        AFTER_STEPS,
        "        train_batch.release(self.model)  # In a loop around callbacks nobody has called the stand-in.\n",
        "",
        [f"{TEST_OF_VARIANCES}::test_a_loop_around_callbacks_leaves_nothing_on_the_model"],
    ),
    "any train function is taken apart": (
        TRAIN_BATCH,
        "model.train_function is not None and type(model).make_train_function is keras.Model.make_train_function",
        "model.train_function is not None",
        [f"{TEST_OF_VARIANCES}::test_a_training_function_that_takes_several_batches_is_left_alone"],
    ),
    "replicas normalise together": (
        AFTER_STEPS,
        "self._trained().distribute_strategy.num_replicas_in_sync",
        "1",
        [f"{TEST_OF_VARIANCES}::test_replicas_cut_what_each_of_them_normalises"],
    ),
    "a single example scatters": (
        VARIANCES,
        "if 2 * size >= max(sizes)]",
        "if True]",
        [f"{TEST_VARIANCES}::test_a_single_example_at_the_end_is_no_scatter"],
    ),
    "a traced loss is kept": (
        OBJECTIVE,
        "    if not isinstance(loss, tf.types.experimental.PolymorphicFunction):\n        return loss",
        "    if True:\n        return loss",
        [f"{TEST_OWN}::test_a_loss_that_is_a_tf_function_is_the_same"],
    ),
    "the dear ones make all rare": (
        SCHEDULE,
        "max(budget - FEWEST * sum(dear), SLACK * budget)",
        "(budget - FEWEST * sum(dear))",
        [f"{TEST_SCHEDULE}::test_the_size_of_the_training_s_batches_counts_for_what_a_measurement_costs"],
    ),
    "two per cent of few examples are many": (
        OF_ACTIVATIONS,
        " + CERTAIN * math.sqrt(NORMAL * (1 - NORMAL) / examples)",
        "",
        [f"{TEST_CONCLUSIONS}::test_activations_say_what_a_batch_can_tell"],
    ),
    "warming up is all": (
        OF_VARIANCES,
        "    if besides > max(",
        "    if False and besides > max(",
        [f"{TEST_OF_VARIANCES}::test_what_is_off_besides_warming_up_is_said"],
    ),
    "more is left than there is": (
        RULES_OF_SHIFTS,
        "min(abs(off), abs(most))",
        "abs(most)",
        [f"{TEST_OF_VARIANCES}::test_no_more_is_left_than_there_is"],
    ),
    "the last measured step decides": (
        OF_LANDSCAPES,
        "if 2 * rising >= len(records) or _rises(last):",
        "if _rises(last):",
        [f"{TEST_CONCLUSIONS}::test_a_landscape_says_whether_steps_are_too_long"],
    ),
    "a grid's limit taken for a smoothness": (
        OF_LANDSCAPES,
        "is_limit = smoothness > NEAR",
        "is_limit = False and smoothness > NEAR",
        [f"{TEST_CONCLUSIONS}::test_a_landscape_says_whether_steps_are_too_long"],
    ),
    "branches are in front of each other": (
        NORMALIZATION,
        "            reaching[operation.name] |= reaching[tensor.op.name]",
        "            reaching[operation.name] |= max(reaching.values())",
        [f"{TEST_OF_VARIANCES}::test_a_branch_is_not_in_front_of_the_other"],
    ),
    "Dropout first, however little it shifts": (
        OF_VARIANCES,
        "        if max(dropped.values()) >= max(others.values(), default=0):",
        "        if True:",
        [f"{TEST_OF_VARIANCES}::test_what_lags_by_more_than_dropout_shifts_comes_first"],
    ),
    "a layer lags in its own inputs": (
        OF_VARIANCES,
        "if layer in shifts.up_to(mode, layers)[:-1]}",
        "if layer in shifts.up_to(mode, layers)}",
        [f"{TEST_OF_VARIANCES}::test_small_lags_in_front_add_up"],
    ),
    "more data for what moving statistics scatter by": (
        OF_VARIANCES,
        "    if 2 * moving_scatter(normalization.momentum) > normalization.errors**2:",
        "    if False:",
        [f"{TEST_OF_VARIANCES}::test_moving_statistics_that_scatter_are_said_to"],
    ),
    "a momentum of 0 is advised": (
        OF_VARIANCES,
        "    if momentum < ORDINARY:",
        "    if False:",
        [f"{TEST_OF_VARIANCES}::test_no_low_momentum_is_advised"],
    ),
    "means warm up by their size alone": (
        VARIANCES,
        "np.clip(np.dot(began, now) / np.dot(began, began), 0, left) * began",
        "left * began",
        [f"{TEST_OF_VARIANCES}::test_means_warm_up_channel_by_channel"],
    ),
    "what acts in training only is everywhere": (
        VARIANCES,
        "sorted(layer.name for layer in others if layer not in names)",
        'sorted(layer.name for layer in keras_internals.layers_within(model) if "dropout" in layer.name or "noise" in layer.name)',
        [f"{TEST_OF_VARIANCES}::test_a_branch_is_not_in_front_of_the_other"],
    ),
    "a Flatten ends what Dropout does": (
        NORMALIZATION,
        "            if isinstance(before, keras.Layer):\n                made_by[id(outputs)] = outputs, before\n",
        "",
        [f"{TEST_VARIANCES}::test_the_prediction_through_a_flatten"],
    ),
    "inner layers set what outer ones are": (
        REBUILDING,
        "for layer, new in pairs.items():\n            new.trainable = layer.trainable",
        "for layer, new in reversed(pairs.items()):\n            new.trainable = layer.trainable",
        [f"{TEST_CONVERT}::test_every_layer_becomes_ours_and_all_else_stays[towers]"],
    ),
    "a copy shares its layers": (
        REBUILDING,
        "                copy = _of_configuration(layer, changes)",
        "                copy = layer if isinstance(layer, keras.layers.Dense) else _of_configuration(layer, changes)",
        [f"{TEST_CONVERT}::test_every_layer_becomes_ours_and_all_else_stays[towers]"],
    ),
    "layers within layers stay": (
        REBUILDING,
        "            keras_internals.replace_layer(copy, other, new)",
        "            pass",
        [f"{TEST_CONVERT}::test_every_layer_becomes_ours_and_all_else_stays[holding]"],
    ),
    "functions are made anew": (
        REBUILDING,
        "        object.__setattr__(copy, name, vars(layer)[name])",
        "        pass",
        [f"{TEST_CONVERT}::test_every_layer_becomes_ours_and_all_else_stays[with_functions]"],
    ),
    "the optimizer begins anew": (
        REBUILDING,
        "                other.assign(tf.convert_to_tensor(variable))\n        elif",
        "                pass\n        elif",
        [f"{TEST_CONVERT}::test_training_goes_on_in_the_middle"],
    ),
    "states of Dropout are lost": (
        REBUILDING,
        "    for variable, other in zip(variables, new):\n        other.assign(tf.convert_to_tensor(variable))",
        "    for variable, other in zip(variables, new):\n        if 'seed' not in variable.name:\n            other.assign(tf.convert_to_tensor(variable))",
        [f"{TEST_CONVERT}::test_training_goes_on_in_the_middle"],
    ),
    "a copy outside of the strategy": (
        REBUILDING,
        "with model.distribute_strategy.scope():",
        "if True:",
        [f"{TEST_CONVERT}::test_a_model_of_replicas_is_copied_in_its_strategy"],
    ),
    "options for Keras's layers only": (
        CONVERT,
        "        kinds |= {kind: kind for kind in kinds.values()}",
        "        pass",
        [f"{TEST_CONVERT}::test_options_go_to_all_layers"],
    ),
    "what Keras lacks is lost silently": (REVERT, "        _refuse(layer)", "        pass", [f"{TEST_CONVERT}::test_refusals"]),
    "a bias is not scaled": (
        AFFINE,
        'values["bias"] * affine.factor + affine.shift',
        'values["bias"] + affine.shift',
        [f"{TEST_FOLD}::test_behind_a_linear_layer"],
    ),
    "a transposed kernel like any other": (
        AFFINE,
        "    if isinstance(layer, TRANSPOSED):\n        factor",
        "    if False:\n        factor",
        [f"{TEST_FOLD}::test_behind_a_linear_layer[transposed-True]"],
    ),
    "groups in the wrong order": (
        AFFINE,
        "kernel.reshape(*kernel.shape[:-1], groups, -1)",
        "kernel.reshape(*kernel.shape[:-1], -1, groups).swapaxes(-1, -2)",
        [f"{TEST_FOLD}::test_in_front_of_a_linear_layer[convolution of groups-True]"],
    ),
    "a depthwise shift as it is": (
        AFFINE,
        "(_over_positions(kernel) * affine.shift[:, np.newaxis]).reshape(-1)",
        "(kernel[0, 0] * affine.shift[:, np.newaxis]).reshape(-1) if kernel.ndim == 4 else 0",
        [f"{TEST_FOLD}::test_in_front_of_a_linear_layer[depthwise-True]"],
    ),
    "folded in front of what pads": (FOLDABLE, '!= "valid"', '== "never"', [f"{TEST_FOLD}::test_why_not"]),
    "folded where others read": (
        FOLDABLE,
        "(number := len(calls.readers(tensor))) > 1",
        "(number := len(calls.readers(tensor))) > 9",
        [f"{TEST_FOLD}::test_why_not"],
    ),
    "folded where the model returns it": (
        FOLDABLE,
        "        if reason is None and calls.is_output(tensor):",
        "        if False:",
        [f"{TEST_FOLD}::test_why_not"],
    ),
    "folded across axes": (FOLDABLE, "    if _channel_axis(operation, rank) != range(rank)[layer.axis]:", "    if False:", [f"{TEST_FOLD}::test_why_not"]),
    "an output loses its name": (
        FOLD,
        "if each.is_output else DROPPED",
        "if False else DROPPED",
        [f"{TEST_FOLD}::test_outputs_keep_their_names"],
    ),
    "all layers at the statistics of before": (
        LAYERWISE,
        "                    snapshot.state[indices[id(variable)]] = tf.cast(value, variable.dtype)",
        "                    pass",
        [f"{TEST_RECALIBRATE}::test_layer_by_layer_equals_numpy"],
    ),
    "what was kept begins elsewhere": (
        LAYERWISE,
        "                kept, begin = onwards, end",
        "                kept = onwards",
        [f"{TEST_RECALIBRATE}::test_layer_by_layer_equals_numpy"],
    ),
    "batches count alike": (
        MOMENTS_OF_CHANNELS,
        "    return functional.merge_moments(",
        "    return functional.average_moments(",
        [f"{TEST_RECALIBRATE}::test_layer_by_layer_equals_numpy"],
    ),
    "Dropout always acts": (
        RECALIBRATE,
        "Layerwise(model, layers, dropout)",
        "Layerwise(model, layers, True)",
        [f"{TEST_RECALIBRATE}::test_dropout_acts_if_asked"],
    ),
    "frozen layers move": (
        RECALIBRATE,
        " if layer.trainable and not isinstance(layer, Frozen)]",
        "]",
        [f"{TEST_RECALIBRATE}::test_frozen_layers_keep_their_statistics"],
    ),
    "by batches is in inference": (
        RECALIBRATE,
        "normalization_layers.watched(model, training=True)",
        "normalization_layers.watched(model, training=False)",
        [f"{TEST_RECALIBRATE}::test_by_batches_equals_numpy"],
    ),
    "NaN is a statistic": (
        RECALIBRATE,
        "        if not bool(tf.reduce_all(tf.math.is_finite(",
        "        if False and not bool(tf.reduce_all(tf.math.is_finite(",
        [f"{TEST_RECALIBRATE}::test_refusals_leave_the_model_alone"],
    ),
    "what is frozen thaws with the model": (
        FREEZE,
        'bool(value) and getattr(self, "affine", False)',
        "bool(value)",
        [f"{TEST_FREEZE}::test_statistics_stay_in_training"],
    ),
    "frozen for gamma and beta only": (
        FREEZE,
        "super().call(inputs, training=False, mask=mask)",
        "super().call(inputs, training=training, mask=mask)",
        [f"{TEST_FREEZE}::test_statistics_stay_in_training"],
    ),
    "a file forgets what may be trained": (
        FREEZE,
        '{**super().get_config(), "affine": self.affine}',
        "super().get_config()",
        [f"{TEST_FREEZE}::test_it_is_saved_and_can_be_taken_back"],
    ),
    "a refusal freezes half": (
        FREEZE,
        "    for layer in layers:\n        if type(layer) not in KNOWN",
        "    for layer in layers:\n        layer.trainable = False\n        if type(layer) not in KNOWN",
        [f"{TEST_FREEZE}::test_refusals"],
    ),
    "validation before its statistics": (
        IN_FIT,
        "        if self._epoch is not None:  # Else",
        "        if False:  # Else",
        [f"{TEST_IN_FIT}::test_validation_has_population_statistics"],
    ),
    "evaluate changes a model": (
        IN_FIT,
        "        if self._epoch is not None:  # Else",
        "        if self._recalibrate() or self._epoch is not None:  # Else",
        [f"{TEST_IN_FIT}::test_evaluate_alone_changes_nothing"],
    ),
    "no statistics at the end": (
        IN_FIT,
        "        self._epoch = None\n        self._recalibrate()",
        "        self._epoch = None",
        [f"{TEST_IN_FIT}::test_without_validation_epochs_end_with_them"],
    ),
    "targets by name are left out": (
        COMMAND_LINE,
        "next(iter(outputs.values())) if len(outputs) == 1 else outputs or None)",
        "None)",
        [f"{TEST_COMMAND_LINE}::test_diagnose"],
    ),
    "what is found is no failure": (COMMAND_LINE, "return FOUND if diagnosis.faults else 0", "return 0", [f"{TEST_COMMAND_LINE}::test_diagnose"]),
    "batches of all sizes weigh the same": (
        f"{DIAGNOSIS}/evaluations.py",
        "deviations = weights * (values",
        "deviations = np.mean(weights) * (values",
        [f"{TEST_DIAGNOSE}::test_the_standard_error_is_that_of_a_weighted_mean"],
    ),
    "metrics keep what a diagnosis left": (
        f"{DIAGNOSIS}/evaluations.py",
        "        if self._is_changed:",
        "        if False:",
        [f"{TEST_DIAGNOSE}::test_metrics_and_the_random_state_are_left_alone", f"{TEST_DIAGNOSE}::test_a_metric_that_raises_is_left_as_it_was"],
    ),
    "other batches are compared": (
        f"{DIAGNOSIS}/evaluations.py",
        "(inference.losses if other.beside is None else other.beside)",
        "inference.losses",
        [f"{TEST_DIAGNOSE}::test_data_that_are_shuffled_anew_are_compared_batch_by_batch"],
    ),
    "recalibrated losses are those of inference": (
        f"{DIAGNOSIS}/examination.py",
        "snapshot.state[positions[id(variable)]] = tf.cast(value, variable.dtype)",
        "pass",
        [f"{TEST_DIAGNOSE}::test_statistics_that_are_off_are_named_where_it_begins"],
    ),
    "frozen layers normalise by the batch": (
        f"{DIAGNOSIS}/examination.py",
        "fixed=frozenset(self._fixed)",
        "fixed=frozenset()",
        [f"{TEST_DIAGNOSE}::test_a_backbone_whose_statistics_are_of_other_data", f"{TEST_DIAGNOSE}::test_frozen_layers_need_the_bias_in_front"],
    ),
    "all batches have one dropout mask": (
        f"{DIAGNOSIS}/examination.py",
        "(TRAINING, evaluation.advanced(model, snapshot, index))",
        "(TRAINING, snapshot)",
        [f"{TEST_DIAGNOSE}::test_dropout_in_front"],
    ),
    "a zero is active": (
        f"{DIAGNOSIS}/examination.py",
        "    active = outputs > 0\n",
        "    active = outputs >= 0\n",
        [f"{TEST_DIAGNOSE}::test_channels_that_carry_nothing"],
    ),
    "padding is active": (
        f"{DIAGNOSIS}/examination.py",
        "    if call.mask is not None:\n",
        "    if False:\n",
        [f"{TEST_DIAGNOSE}::test_masked_positions_are_not_active"],
    ),
    "no updates were made": (
        f"{DIAGNOSIS}/examination.py",
        "updates=(steps or 0) * self._calls[name]",
        "updates=0",
        [f"{TEST_DIAGNOSE}::test_statistics_that_warm_up", f"{TEST_DIAGNOSE}::test_accumulated_gradients_are_updates_of_the_statistics"],
    ),
    "ghost batches are whole": (
        f"{DIAGNOSIS}/examination.py",
        "count *= min(1, ghosts / size) if ghosts else 1",
        "pass",
        [f"{TEST_DIAGNOSE}::test_ghost_batches_hold_few_values"],
    ),
    "the last layer is named": (
        f"{DIAGNOSIS}/rules/statistics.py",
        "return next((name for name in names if not any(other in names for other in shifts.up_to(name, evidence.normalizations)[:-1])), names[0])",
        "return names[-1]",
        [f"{TEST_DIAGNOSE}::test_several_layers_are_one_finding_at_the_first"],
    ),
    "channels count together only": (
        f"{DIAGNOSIS}/rules/statistics.py",
        "        if lag > max(CERTAIN * error, SMALL, shifts.scatter(record, name, layers)):",
        "        if False:",
        [f"{TEST_DIAGNOSE}::test_single_channels_count", f"{TEST_DIAGNOSE}::test_a_variance_of_0_is_seen_without_losses"],
    ),
    "statistics as built lag": (
        f"{DIAGNOSIS}/rules/statistics.py",
        "{*_as_built(evidence), *right(evidence)}",
        "{*right(evidence)}",
        [f"{TEST_DIAGNOSE}::test_statistics_that_were_never_updated"],
    ),
    "constant channels vary": (
        f"{DIAGNOSIS}/rules/channels.py",
        "(shift.training_variance > (ROUNDING * shift.training_mean) ** 2)",
        "(shift.training_variance >= 0)",
        [f"{TEST_DIAGNOSE}::test_constant_channels"],
    ),
    "only a gamma of 0 is small": (
        f"{DIAGNOSIS}/rules/channels.py",
        "max(NEAR_ZERO * np.sqrt(np.mean(gamma**2)), ROUNDING)",
        "ROUNDING",
        [f"{TEST_DIAGNOSE}::test_channels_that_carry_nothing"],
    ),
    "any number of values is enough": (
        f"{DIAGNOSIS}/rules/batch_sizes.py",
        "fewest = math.floor(1 + 2 / UNKNOWN**2)",
        "fewest = 1",
        [f"{TEST_DIAGNOSE}::test_batches_of_few_values"],
    ),
    "worse inference is found beside its cause": (
        f"{DIAGNOSIS}/rules/__init__.py",
        "if worse is not None and not shifted:",
        "if worse is not None:",
        [f"{TEST_DIAGNOSE}::test_statistics_that_are_off_are_named_where_it_begins"],
    ),
    "a bias behind is in front": (
        f"{DIAGNOSIS}/rules/order.py",
        "if fold.is_behind and getattr",
        "if getattr",
        [f"{TEST_DIAGNOSE}::test_hints_of_what_is_behind_an_activation"],
    ),
    "wrappers are named before what they wrap": (
        f"{DIAGNOSIS}/non_finite.py",
        "for watched in (innermost, holders):",
        "for watched in (holders, innermost):",
        [f"{TEST_DIAGNOSE}::test_the_first_layer_that_is_not_finite"],
    ),
    "data are taken for finite": (
        f"{DIAGNOSIS}/non_finite.py",
        "if values is not None and not _are_finite(values):",
        "if False:",
        [f"{TEST_DIAGNOSE}::test_the_first_layer_that_is_not_finite"],
    ),
    "what is bad is not marked": (
        f"{DIAGNOSIS}/picture.py",
        'label.set(color=_BAD, fontweight="bold")',
        "label.set(color=_BAD)",
        [f"{TEST_DIAGNOSE}::test_reports"],
    ),
    "no statistics are right": (
        RULES_OF_SHIFTS,
        "return {layer for layer in layers if all(is_right(layer, *each) for each in quantities)}",
        "return set()",
        [f"{TEST_DIAGNOSE}::test_inputs_that_are_others_in_training"],
    ),
    "statistics are right by their variance": (
        RULES_OF_SHIFTS,
        'quantities = ("ratio", "ratio"), ("mean_shift", "mean_mode")',
        'quantities = (("ratio", "ratio"),)',
        [f"{TEST_DIAGNOSE}::test_means_that_are_off"],
    ),
    "a single batch is enough": (
        RULES_OF_SHIFTS,
        ' or CERTAIN * error(record, "mode", name, layers) > 2 * least',
        "",
        [f"{TEST_OF_VARIANCES}::test_too_few_data_tell_nothing", f"{TEST_DIAGNOSE}::test_few_data_tell_nothing"],
    ),
    "a batch of a PyDataset is indexed": (
        BATCHES,
        "parts = (inputs[index] for index in",
        "parts = (inputs[0] for index in",
        [f"{TEST_DIAGNOSE}::test_data_of_every_kind_are_read_alike"],
    ),
    "the least comes first": (f"{DIAGNOSIS}/rules/__init__.py", "reverse=True", "reverse=False", [f"{TEST_DIAGNOSE}::test_the_worst_comes_first"]),
    "calls count together": (
        f"{DIAGNOSIS}/examination.py",
        " / max(1, self._calls[name])",
        "",
        [f"{TEST_DIAGNOSE}::test_values_of_each_call_count_by_themselves"],
    ),
    "every mode is training": (
        OBJECTIVE,
        '{"training": training}',
        '{"training": True}',
        [f"{TEST_DIAGNOSE}::test_the_loss_of_each_mode_is_told_the_mode"],
    ),
    "hints are bad": (
        f"{DIAGNOSIS}/picture.py",
        "not HINTS.issuperset(shift.faults)",
        "bool(shift.faults)",
        [f"{TEST_DIAGNOSE}::test_hints_are_no_faults_in_the_picture_and_numbers_without_end_none_in_json"],
    ),
    "any gain is the reason": (
        f"{DIAGNOSIS}/rules/losses.py",
        "2 * than_recalibrated.value >= worse.value",
        "True",
        [f"{TEST_DIAGNOSE}::test_what_is_worse_for_other_reasons_than_statistics"],
    ),
    "loops are taken apart": (
        LAYERWISE,
        "        keras_internals.keep_loops_whole(self._function.graph)\n",
        "",
        [f"{TEST_RECALIBRATE}::test_behind_several_loops"],
    ),
    "frozen layers are converted to others": (
        CONVERT,
        ", FrozenKerasBatchNormalization: FrozenBatchNormalization}",
        ", FrozenKerasBatchNormalization: BatchNormalization}",
        [f"{TEST_CONVERT}::test_frozen_layers_stay_frozen"],
    ),
    "differences the other way": (
        EVIDENCE,
        "[size(a - b) for a, b",
        "[size(b - a) for a, b",
        [f"{TEST_EVIDENCE}::test_differences_are_the_first_less_the_second"],
    ),
    "seeds that one group lacks": (
        EVIDENCE,
        "set.intersection(*(set(of_seeds)",
        "set.union(*(set(of_seeds)",
        [f"{TEST_EVIDENCE}::test_groups_keep_the_seeds_that_all_have_in_order"],
    ),
    "a diverged training without accuracy in the mean": (
        EVIDENCE,
        "return 0.0 if math.isnan(values[-1]) else float(sum(values) / len(values))",
        "return float(sum(value for value in values if not math.isnan(value)) / len(values))",
        [f"{TEST_EVIDENCE}::test_summaries"],
    ),
    "one equal case is enough": (
        CLAIMS,
        "together([HOLDS if case in exact else DOES_NOT_HOLD for case in self.cases])",
        "HOLDS if exact else DOES_NOT_HOLD",
        [f"{TEST_CLAIMS}::test_equations_hold_in_all_some_or_none_of_the_cases"],
    ),
    "the logarithmic axis after the lines": (
        PICTURES,
        """        axis.set(xscale=_scale("x" in log, of_panel[x]), yscale=_scale("y" in log, of_panel["value"]))
        sns.lineplot(of_panel, **look, markers=has_markers, **spread, linewidth=2.2, legend=name == next(iter(groups.groups)), ax=axis)
""",
        """        sns.lineplot(of_panel, **look, markers=has_markers, **spread, linewidth=2.2, legend=name == next(iter(groups.groups)), ax=axis)
        axis.set(xscale=_scale("x" in log, of_panel[x]), yscale=_scale("y" in log, of_panel["value"]))
""",
        [f"{TEST_PICTURES}::test_lines_are_geometric_means_in_every_panel_where_the_axis_is_logarithmic"],
    ),
    "the title of other claims": (
        PICTURES,
        "for claim, said, _ in judged if claim.name in picture.claims]",
        "for claim, said, _ in judged]",
        [f"{TEST_PICTURES}::test_a_title_is_what_was_found_of_the_picture_s_claims"],
    ),
    "runs in the order of their names": (
        SELECTION,
        'sorted(trainings, key=lambda name: trainings[name].hyperparameters["seed"])',
        "sorted(trainings)",
        [f"{TEST_SELECTION}::test_more_than_forty_runs_get_a_folder_with_the_first_forty_seed_by_seed"],
    ),
    "gradients of scaled weights as they are": (
        IDENTITIES,
        "_differ(scale * other, gradient)",
        "_differ(other, gradient)",
        [f"{TEST_IDENTITIES}::test_scale_and_bias_cancel_without_epsilon_only"],
    ),
    "theorem 4.1 with 1 / sqrt(m)": (
        IDENTITIES,
        '("4.1", EXAMPLES)',
        '("4.1", EXAMPLES**0.5)',
        [f"{TEST_IDENTITIES}::test_theorems_are_equalities_with_one_over_m"],
    ),
    "verdicts of the runs, not of today": (
        LEDGER,
        '"said": claim.rule(evidence[claim.name])',
        '"said": next(claims.Judgement(*(one[key] for key in ("verdict", "measured", "why"))) for one in results["claims"] if one["name"] == claim.name)',
        [f"{TEST_LEDGER}::test_a_row_holds_claim_source_data_measurement_verdict_and_run"],
    ),
    "a folder is taken before the next is read": (
        LEDGER,
        "            recipe, _ = read(workdir)\n",
        "            take(workdir, place)\n            recipe, _ = read(workdir)\n",
        [f"{TEST_LEDGER}::test_results_that_do_not_fit_are_refused_and_nothing_is_written"],
    ),
    "numbers of trainings that are not there": (
        LEDGER,
        "if len(of_group) < seeds:",
        "if False:",
        [f"{TEST_LEDGER}::test_results_that_do_not_fit_are_refused_and_nothing_is_written"],
    ),
    "defaults are added to what is there": (
        WORKDIR,
        "if flag.name not in settings.typed | retyped:",
        "if False:",
        [f"{TEST_WORKDIR}::test_what_is_not_typed_stays_as_it_was"],
    ),
    "what was measured at the end of a shorter training is kept": (
        TRAINING,
        'records = [record for record in records if not record.get("is_end", False)]',
        "pass",
        [f"{TEST_TRAINING}::test_a_longer_training_goes_on_where_a_shorter_one_ended"],
    ),
    "rounding of a shared mean that is left": (
        "keras_bn/arithmetic/replicas.py",
        "return Centre(total, shift, error, variance)",
        "return Centre(total, shift, tf.zeros_like(error), variance)",
        ["tests/keras_bn/layers/test_replicas.py::test_synchronized_statistics_are_those_of_the_whole_batch"],
    ),
    "a worker's part in place of the global batch": (
        WORKERS,
        "return strategy.gather(value, axis=0)",
        "return strategy.experimental_local_results(value)[0]",
        [f"{TEST_DISTRIBUTE}::test_callbacks_measure_the_global_batch_and_the_chief_writes"],
    ),
    "all workers write": (
        "keras_bn/callbacks/instrument.py",
        "if workers.is_chief(strategy):",
        "if True:",
        [f"{TEST_DISTRIBUTE}::test_callbacks_measure_the_global_batch_and_the_chief_writes"],
    ),
    "a worker that failed is not heard of": (
        WORKERS,
        "if said[:, 1].any():",
        "if False:",
        [f"{TEST_DISTRIBUTE}::test_what_workers_cannot_do_together_is_refused_on_all"],
    ),
    "each process reads the first part": (
        IMAGES,
        "order[:, first : first + number]",
        "order[:, :number]",
        [f"{TEST_DISTRIBUTION}::test_parts_of_a_batch_are_the_batch"],
    ),
    "synchronized is not handed on": (
        "recipes/frame/distribution.py",
        "layer.synchronized = True",
        "pass",
        [f"{TEST_DISTRIBUTION}::test_unsynchronized_replicas_do_not", f"{TEST_DISTRIBUTION}::test_synchronized_replicas_train_as_one_device_does"],
    ),
    "weights that overflowed end the experiment": (
        "recipes/frame/instruments.py",
        'if "not all finite" in str(error):',
        "if False:",
        [f"{TEST_INSTRUMENTS}::test_a_net_whose_weights_overflowed_has_no_such_score"],
    ),
    "metrics of workers without an axis": (
        "keras_bn/distribute.py",
        "tf.convert_to_tensor(value)[tf.newaxis]",
        "tf.convert_to_tensor(value)",
        ["tests/keras_bn/test_distribute.py::test_fit_is_that_of_one_process_with_the_global_batch"],
    ),
    "a second call that adds a second axis": (
        "keras_bn/distribute.py",
        "model._fits_on_workers = True",
        "pass",
        ["tests/keras_bn/test_distribute.py::test_fit_is_that_of_one_process_with_the_global_batch"],
    ),
    "a preset's steps in place of the epochs that were typed": (
        "recipes/frame/flags.py",
        "name not in typed and not (name in LENGTHS and typed & {*LENGTHS})",
        "name not in typed",
        ["tests/recipes/frame/test_flags.py::test_a_preset_sets_what_is_not_given"],
    ),
    "records that begin where the one before ends": (
        RECORDS,
        "HEADER + np.cumsum",
        "np.cumsum",
        [f"{TEST_SOURCES}::test_tfrecords_hold_what_a_folder_of_their_images_does"],
    ),
    "labels of records as they are written": (
        "recipes/datasets/sources.py",
        "np.searchsorted(classes, test.labels)",
        "test.labels",
        [f"{TEST_SOURCES}::test_tfrecords_hold_what_a_folder_of_their_images_does"],
    ),
    "iterators that wait for a tuner": (
        IMAGES,
        "options.autotune.enabled = False",
        "pass",
        [f"{TEST_IMAGES}::test_no_iterator_waits_for_a_tuner_when_it_is_deleted"],
    ),
    "processes that compare nothing": (
        "recipes/frame/distribution.py",
        "if len(set(column)) > 1]",
        "if len(set(column)) > 2]",
        [f"{TEST_DISTRIBUTION}::test_processes_that_do_not_hold_the_same_are_refused"],
    ),
    "charts that refuse what is beyond float32": (
        "keras_bn/summaries/log.py",
        "value = tf.constant(value, tf.float64)",
        "value = value",
        ["tests/keras_bn/summaries/test_log.py::test_a_number_beyond_float32_is_infinite_in_its_chart"],
    ),
    "a bias whose gradient passes through the mean": (
        IDENTITIES,
        "tf.stop_gradient(tf.reduce_mean(x))",
        "0.9 * tf.reduce_mean(x)",
        [f"{TEST_IDENTITIES}::test_a_step_of_the_bias_is_in_vain_where_the_gradient_ignores_the_mean"],
    ),
    "a logarithmic axis without a positive number": (
        PICTURES,
        'return "log" if is_logarithmic and _are_positive(values).any() else "linear"',
        'return "log" if is_logarithmic else "linear"',
        [f"{TEST_PICTURES}::test_a_logarithmic_picture_without_a_positive_number_is_drawn"],
    ),
    "remarks of earlier results pass in silence": (
        LEDGER,
        'files.read_json(place / "results.json") != files.read_json(workdir / "results.json")',
        "False",
        [f"{TEST_LEDGER}::test_remarks_stand_below_the_runs_and_are_kept_and_named_when_results_change"],
    ),
    "colour bars end where the numbers do": (
        HEATMAP,
        "    if not value:\n        return 0.0\n",
        "    return value\n",
        [f"{TEST_HEATMAP}::test_ends_of_the_colour_bar_are_round"],
    ),
    "workers with measurements of other costs": (
        INSTRUMENT,
        "        if self.every is None:  # Workers",
        "        if False:  # Workers",
        [f"{TEST_DISTRIBUTE}::test_what_workers_cannot_do_together_is_refused_on_all"],
    ),
    "the tab judges a run by its first step": (
        TAB_OVERVIEW,
        "newest = columns[-1] if columns else []",
        "newest = columns[0] if columns else []",
        [f"{TEST_ROUTES}::test_routes_answer_what_the_runs_hold", f"{TEST_ROUTES}::test_a_run_is_judged_by_its_newest_step_and_missing_numbers_do_not_count"],
    ),
    "the tab's worst layer was the worst from the beginning": (
        TAB_OVERVIEW,
        "while since and _worst(columns[since - 1], row) == layer:",
        "while since:",
        [f"{TEST_ROUTES}::test_routes_answer_what_the_runs_hold"],
    ),
    "the tab takes ratios below 1 for harmless": (
        TAB_OVERVIEW,
        'max(value / row["neutral"], row["neutral"] / value)',
        'value / row["neutral"]',
        [f"{TEST_ROUTES}::test_what_is_worse", f"{TEST_ROUTES}::test_routes_answer_what_the_runs_hold"],
    ),
    "the tab thins steps from the first on": (
        TAB_SERIES,
        "steps = [steps[round(place * (len(steps) - 1) / (most - 1))] for place in range(most)]",
        "steps = steps[:most]",
        [f"{TEST_ROUTES}::test_steps_are_thinned_evenly_and_the_newest_stays"],
    ),
    "the tab serves what a request names": (
        TAB_PLUGIN,
        "for name in FILES}",
        'for name in (*FILES, "../plugin.py", "plugin.py")}',
        [f"{TEST_ROUTES}::test_only_listed_files_are_served_and_only_get"],
    ),
    "TensorBoard loads the tab without a net below it": (
        TAB_LOADER,
        "from tensorboard.plugins import base_plugin\n",
        "from tensorboard.plugins import base_plugin\n\nfrom tensorboard_plugin_keras_bn import plugin  # noqa: F401\n",
        [f"{TEST_SERVER}::test_a_broken_file_of_the_plugin_leaves_tensorboard_running"],
    ),
    "the tab writes layers' names as HTML": (
        f"{TAB_STATIC}/overview.js",
        'return element("li", {}, element("button"',
        'document.body.insertAdjacentHTML("beforeend", `<img src=x onerror="throw 1">${one.name}`);\n  return element("li", {}, element("button"',
        [f"{TEST_BROWSER}::test_the_overview_opens_and_names_the_worst_layer"],
    ),
    "the tab's field is one step off": (
        f"{TAB_STATIC}/heatmap.js",
        "Math.floor((x - plot.left) / columnWidth)",
        "Math.ceil((x - plot.left) / columnWidth)",
        [f"{TEST_BROWSER}::test_hovering_a_field_says_its_number_and_runs_compare"],
    ),
    "the tab forgets the step of a link": (
        f"{TAB_STATIC}/profile.js",
        'const wanted = page.state.step === "" ? Infinity : Number(page.state.step);',
        "const wanted = Infinity;",
        [f"{TEST_BROWSER}::test_a_link_restores_view_runs_quantity_layer_and_step"],
    ),
    "the tab does not look again": (
        f"{TAB_STATIC}/index.js",
        "if (isNew) await this.draw();",
        "if (isNew && !this.drawn) await this.draw();",
        [f"{TEST_BROWSER}::test_a_training_that_goes_on_is_followed"],
    ),
}


def misfit(name):
    """Why a variant cannot be run, in words, or None: its pattern must occur once, and its tests must exist."""
    path, right, _, tests = MUTANTS[name]
    times = (ROOT / path).read_text().count(right) if (ROOT / path).exists() else 0
    if times != 1:
        return f"{path} holds {right!r} {times} times; expected once"
    for test in tests:
        file, _, function = test.partition("::")
        if not (ROOT / file).exists() or (function and f"def {function.partition('[')[0]}(" not in (ROOT / file).read_text()):
            return f"{test} does not exist"
    return None


def survivors(name):
    """The tests that should have noticed the variant of that name and passed."""
    path, right, wrong, tests = MUTANTS[name]
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__"))
        (copy / path).write_text((copy / path).read_text().replace(right, wrong))
        return [
            test
            for test in tests
            if subprocess.run([sys.executable, "-m", "pytest", "-n", "0", "-x", "-q", test], cwd=copy, capture_output=True).returncode != 1
        ]


def main(names):
    failed = False
    for name in names or MUTANTS:
        reason = misfit(name)
        tests = [] if reason else survivors(name)
        failed = failed or bool(reason or tests)
        print(f"{'MISFIT' if reason else 'SURVIVED' if tests else 'noticed'}: {name}", reason or "", *tests, flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
