"""The flags of recipes.deep_vgg: their types, their help, and that asking for it does not wait for TensorFlow."""

import subprocess
import sys

import pytest
from absl import flags

from recipes import deep_vgg, files  # noqa: F401  (defines the flags)
from recipes import flags as shared_flags


def parse(*arguments):
    return flags.FLAGS(["deep_vgg", *arguments])


@pytest.fixture(autouse=True)
def _flags_as_before():
    yield
    flags.FLAGS.unparse_flags()
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    flags.FLAGS(["deep_vgg"])


def test_lists_make_a_sweep():
    parse("--seeds=0, 3,2", "--learning_rates=0.01,1", "--depth=11,16", "--initializers=he_normal,normal_0.01", "--contestants=auxiliary")
    values = flags.FLAGS
    assert values.seeds == [0, 3, 2]
    assert values.learning_rates == [0.01, 1.0]
    assert values.depth == [11, 16]
    assert values.initializers == ["he_normal", "normal_0.01"]
    assert values.contestants == ["auxiliary"]


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("--seeds=", "flag --seeds=: "),
        ("--seeds=1,x", "flag --seeds=1,x: "),
        ("--seeds=1,1", "flag --seeds=1,1: '1,1' names a value twice; name each once."),
        ("--depth=12", "flag --depth=12: VGG has no configuration of 12 layers; expected 11, 13, 16 or 19."),
        ("--learning_rates=0", "flag --learning_rates=0: 0 is not a positive number"),
        ("--learning_rates=nan", "flag --learning_rates=nan: nan is not a positive number"),
        ("--contestants=deep", "flag --contestants=deep: value should be one of <plain|grown|auxiliary|batch_norm>"),
        (
            "--initializers=normal_0",
            "flag --initializers=normal_0: 'normal_0' is no initializer; expected glorot_uniform, he_normal or normal_STANDARD-DEVIATION",
        ),
        ("--batch_size=0", "flag --batch_size=0: "),
        ("--dropout=1", "flag --dropout=1: "),
        ("--momentum=nan", "flag --momentum=nan: "),
        ("--width=inf", "flag --width=inf: "),
    ],
)
def test_a_bad_value_is_refused(argument, complaint):
    with pytest.raises(flags.Error) as caught:
        parse(argument)
    assert complaint in str(caught.value)


def test_what_a_flagfile_says_is_what_was_given(tmp_path):
    own_flags = [flags.FLAGS[name] for name in ("seeds", "learning_rates", "depth", "initializers", "contestants", "width", "jit_compile")]
    parse("--seeds=0,3", "--learning_rates=0.01,1", "--depth=11", "--initializers=normal_0.1", "--contestants=grown", "--width=0.5", "--jit_compile")
    given = {flag.name: flag.value for flag in own_flags}
    (tmp_path / "flagfile").write_text("".join(f"{flag.serialize()}\n" for flag in own_flags))
    parse("--seeds=9", f"--flagfile={tmp_path / 'flagfile'}")
    assert {flag.name: flag.value for flag in own_flags} == given


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_help_shows_every_flag_and_imports_nothing_heavy():
    code = (
        "import runpy, sys, atexit\n"
        "atexit.register(lambda: print('imported', [m for m in ('tensorflow', 'keras', 'numpy', 'matplotlib', 'sklearn') if m in sys.modules]))\n"
        "sys.argv = ['deep_vgg', '--help']\n"
        "runpy.run_module('recipes.deep_vgg', run_name='__main__')\n"
    )
    shown = run(code)
    assert shown.returncode == 1  # absl's
    assert shown.stdout.strip().endswith("imported []")
    names = "contestants depth width dataset data_dir workdir seeds learning_rates initializers batch_size epochs steps momentum weight_decay dropout"
    for name in names.split():
        assert f"  --{name}: " in shown.stdout
    assert "  --[no]jit_compile: " in shown.stdout


def test_shared_flags_have_help():
    own_flags = flags.FLAGS.flags_by_module_dict()[shared_flags.__name__]
    assert all(flag.help for flag in own_flags)
