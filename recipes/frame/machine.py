"""What a number depends on beside the flags: the machine and the versions."""

import os
import pathlib
import platform

import keras
import tensorflow as tf

import keras_bn


def described():
    """What a number depends on, beside the flags."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "accelerators": [_accelerator_name(device) for device in tf.config.list_physical_devices() if device.device_type != "CPU"],
        "system": platform.platform(),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "keras_bn": keras_bn.__version__,
    }


def device(about):
    """What TensorFlow computes on, for the terminal; `about` is from `described`."""
    return ", ".join(about["accelerators"]) or f"CPU, {about['cores']} cores"


def _accelerator_name(device):
    return tf.config.experimental.get_device_details(device).get("device_name", device.name)


def _cpu_name():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
