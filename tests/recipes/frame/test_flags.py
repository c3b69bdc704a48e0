"""The flags of recipes: their types, their help, and that asking for it does not wait for TensorFlow."""

import subprocess
import sys

import pytest

from recipes import covariate_shift, deep_vgg
from recipes.frame import flags
from recipes.frame.refusal import Refusal


def parse(*arguments):
    return flags.parsed(deep_vgg.RECIPE, arguments)


def test_lists_make_a_sweep():
    settings = parse("--seeds=0, 3,2", "--learning_rates=0.01,1", "--depth=11,16", "--initializers=he_normal,normal_0.01", "--contestants=auxiliary")
    assert settings.seeds == [0, 3, 2]
    assert settings.learning_rates == [0.01, 1.0]
    assert settings.depth == [11, 16]
    assert settings.initializers == ["he_normal", "normal_0.01"]
    assert settings.contestants == ["auxiliary"]
    assert len(flags.combinations(deep_vgg.FLAGS, settings)) == 3 * 2 * 2 * 2


def test_contestants_of_one_combination_are_trained_behind_each_other():
    combined = flags.combinations(deep_vgg.FLAGS, parse("--contestants=plain,batch_norm", "--seeds=0,1"))
    assert [(one["contestant"], one["seed"]) for one in combined] == [("plain", 0), ("batch_norm", 0), ("plain", 1), ("batch_norm", 1)]
    assert list(combined[0]) == ["contestant", "depth", "initializer", "learning_rate", "seed"]


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("--seeds=", "flag --seeds=: '' is not an integer in the range [0, 2147483647]"),
        ("--seeds=1,x", "flag --seeds=1,x: 'x' is not an integer in the range [0, 2147483647]"),
        ("--seeds=1,1", "flag --seeds=1,1: '1,1' names a value twice; name each once"),
        ("--seeds=99999999999999999999", "flag --seeds=99999999999999999999: 99999999999999999999 is not an integer in the range [0, 2147483647]"),
        ("--depth=12", "flag --depth=12: '12' is not one of 11, 13, 16, 19"),
        ("--learning_rates=0", "flag --learning_rates=0: 0 is not a positive number"),
        ("--learning_rates=nan", "flag --learning_rates=nan: nan is not a positive number"),
        ("--learning_rates=0.01,abc", "flag --learning_rates=0.01,abc: 'abc' is not a positive number"),
        ("--contestants=deep", "flag --contestants=deep: 'deep' is not one of plain, grown, auxiliary, batch_norm"),
        ("--initializers=normal_0", "flag --initializers=normal_0: 'normal_0' is no initializer; expected glorot_uniform, he_normal or"),
        ("--batch_size=0", "flag --batch_size=0: 0 is not a positive integer"),
        ("--dropout=1", "flag --dropout=1: 1.0 is not a number in the range [0.0, 0.99]"),
        ("--momentum=nan", "flag --momentum=nan: "),
        ("--width=inf", "flag --width=inf: "),
        ("--width=0.0001", "flag --width=0.0001: 0.0001 is not a number of at least 0.015625"),
        ("--dataset=nosuch", "flag --dataset=nosuch: 'nosuch' is not digits, mnist, fashion_mnist, cifar10, cifar100 or an existing folder"),
        (
            "--dataset=gs://bucket",
            "flag --dataset=gs://bucket: 'gs://bucket' is not digits, mnist, fashion_mnist, cifar10, cifar100 or an existing folder: mount",
        ),
        ("--image_size=31", "flag --image_size=31: "),
        ("--nosuch=1", "Unknown command line flag 'nosuch'"),
        ("batch_norm", "'batch_norm' is not a flag; expected --name=value only."),
    ],
)
def test_a_bad_value_is_refused(argument, complaint):
    with pytest.raises(Refusal) as caught:
        parse(argument)
    assert str(caught.value).startswith(complaint)
    assert "\n" not in str(caught.value)


def test_what_a_flagfile_says_is_what_was_given(tmp_path):
    given = parse("--seeds=0,3", "--learning_rates=0.01,1", "--depth=11", "--initializers=normal_0.1", "--contestants=grown", "--width=0.5", "--jit_compile")
    (tmp_path / "flagfile").write_text(flags.flagfile(deep_vgg.RECIPE, given))
    again = parse("--seeds=9", f"--flagfile={tmp_path / 'flagfile'}")
    assert {**vars(again), "typed": None} == {**vars(given), "typed": None}
    assert given.typed == {"seeds", "learning_rates", "depth", "initializers", "contestants", "width", "jit_compile"}


def test_a_preset_sets_what_is_not_given():
    settings = parse("--preset=paper", "--batch_size=7")
    assert (settings.dataset, settings.width, settings.batch_size) == ("cifar10", 1.0, 7)
    assert parse().dataset == "digits"
    assert flags.parsed(covariate_shift.RECIPE, ["--preset=paper"]).steps == 15_000
    settings = flags.parsed(covariate_shift.RECIPE, ["--preset=paper", "--epochs=2"])
    assert (settings.steps, settings.epochs) == (None, 2)


def test_a_shared_flag_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"^nosuch is not shared; expected dataset, "):
        flags.shared(nosuch=1)


def test_help_shows_every_flag_and_imports_nothing_heavy():
    code = (
        "import runpy, sys, atexit\n"
        "atexit.register(lambda: print('imported', [m for m in ('tensorflow', 'keras', 'numpy', 'pandas', 'matplotlib', 'sklearn') if m in sys.modules]))\n"
        "sys.argv = ['deep_vgg', '--help']\n"
        "runpy.run_module('recipes.deep_vgg', run_name='__main__')\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.returncode == 0
    assert shown.stdout.startswith("Can a 19-layer VGG be trained from random weights")
    assert shown.stdout.strip().endswith("imported []")
    assert all(f"  --{flag.name}: " in shown.stdout or f"  --[no]{flag.name}: " in shown.stdout for flag in (*deep_vgg.FLAGS, flags.WORKDIR))
    assert "--preset: Sets flags that are not given. paper: --dataset=cifar10" in shown.stdout


def test_names_say_what_is_not_as_usual_and_the_seed():
    chosen = {"contestant": "plain", "depth": 19, "initializer": "glorot_uniform", "learning_rate": 0.01, "seed": 0}
    name = deep_vgg.RECIPE.training_name
    assert name(chosen) == "plain-seed0"
    assert name({**chosen, "depth": 11, "learning_rate": 0.5, "initializer": "normal_0.1", "seed": 12}) == "plain-depth11-normal_0.1-lr0.5-seed12"
