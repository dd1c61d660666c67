# SPDX-License-Identifier: Apache-2.0
"""A configuration is refused before anything is computed, and the message names the key."""

from pathlib import Path

import pytest

from glc.errors import InvalidArgumentError
from glc.models.config import preset
from glc.training.cli import STAGES, run
from glc.training.config_file import load_config
from glc.training.config_rules import RULES, check_model, warn_of_unread

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("steps=many", "steps: expected int, got 'many'"),
        ("data.list=3", r"data\.list: expected str or none, got 3"),
        ("speed=3", "speed"),
        ("data.crop=1.5", "data.crop"),
        ("rate.lambdas=[1, two]", "rate.lambdas"),
        ("steps", "key=value"),
        ("rate.lambdas=[", r"rate\.lambdas: expected a value in YAML"),
        ("betas=[0.9]", "betas: expected 2 values"),
        ("betas=[0.9, 0.98, 0.99]", "betas: expected 2 values"),
        ("betas=0.9", "betas: expected a list, got 0.9"),
        ("rate=1", r"rate: expected a mapping, got 1"),
        ("steps.more=1", r"steps: expected a mapping, got 6"),
        ("features.network=vgg", r"features\.network: expected one of .*, got 'vgg'"),
    ],
)
def test_config_errors_name_the_field(write_config, tmp_path, override, named):
    path = write_config(tmp_path, "stage1")
    with pytest.raises(InvalidArgumentError, match=named):
        load_config(path, [override])


@pytest.mark.parametrize(
    "value",
    [
        *("2020-99-99", "2020-01-01 99:99:99", "0x_", "!!int x", "!!bool x", "!!timestamp x"),
        *("9" * 5000, "[" * 5000 + "]" * 5000, "!!python/object/apply:os.getcwd []"),
    ],
)
def test_values_that_cannot_be_are_refused(write_config, tmp_path, value):
    """YAML's library raises anything on them."""
    with pytest.raises(InvalidArgumentError, match="expected a YAML file"):
        load_config(write_config(tmp_path, "stage1", steps=value), [])
    with pytest.raises(InvalidArgumentError, match="steps: expected a value in YAML"):
        load_config(write_config(tmp_path, "stage1"), [f"steps={value}"])


def test_a_number_too_large_for_a_float_is_refused(write_config, tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"learning_rate: .* got 1000"):
        load_config(write_config(tmp_path, "stage1"), ["learning_rate=1" + "0" * 400])


@pytest.mark.parametrize("key", ["out", "steps", "betas", "device", "data", "data.crop", "out.at"])
def test_a_value_is_shown_in_brief(write_config, tmp_path, key):
    """Six hundred bytes of anchors say a list of a million."""
    lists = [f"&a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 6)]
    bomb = "[" + ", ".join(["&a0 [x, x, x, x, x, x, x, x, x, x]", *lists]) + "]"
    parent = key.removesuffix(".at")
    overrides = [f"{parent}={bomb}", *([f"{key}=1"] if parent != key else [])]
    with pytest.raises(InvalidArgumentError) as caught:
        load_config(write_config(tmp_path, "stage1"), overrides)
    assert len(str(caught.value)) < 1000
    (tmp_path / "list.yaml").write_text(bomb)
    with pytest.raises(InvalidArgumentError, match="expected a mapping") as caught:
        load_config(tmp_path / "list.yaml", [])
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"steps: [1", "a.yaml: expected a YAML file, got "),
        (b"steps: \xff", "a.yaml: expected a YAML file, got "),
        (b"- steps", r"a.yaml: expected a mapping, got \['steps'\]"),
        (b"", "a.yaml: expected a mapping, got None"),
        (None, "a.yaml: expected a YAML file, got .*No such file"),
    ],
)
def test_files_of_something_else_are_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(InvalidArgumentError, match=message):
        load_config(tmp_path / "a.yaml", [])


def test_unknown_keys_of_several_kinds_are_named(tmp_path):
    (tmp_path / "a.yaml").write_text("out: a\n1: one\nfast: true\n")
    with pytest.raises(InvalidArgumentError, match=r"got unknown \[1, 'fast'\]"):
        load_config(tmp_path / "a.yaml", [])


@pytest.mark.parametrize(
    "override",
    [
        *("steps=0", "steps=-1", "batch=0", "accumulate=0", "nonfinite_limit=0", "seed=-1"),
        *("seed=9223372036854775808", "data.resized_range=[0.001, 1.0]"),
        *("learning_rate=-1e-3", "learning_rate=.inf", "clip=-1.0", "clip=.nan", "warmup=-1"),
        *("ema_decay=2.0", "betas=[0.9, 1.0]", "final_rate=-0.1", "quantized_share=3.0"),
        *("checkpoint_every=0", "validate_every=0", "levels_per_image=0", "latent_noise=-1.0"),
        *("data.crop=-64", "data.holdout=-1", "data.workers=-2", "data.cache_gb=-1.0"),
        *("data.crop=8", "data.validation_crop=8"),
        *("data.resized_share=1.5", "data.resized_range=[0.0, 1.0]", "data.validation_crop=0"),
        *("data.resized_range=[2.0, 1.0]", "features.share=-0.5", "adversarial.width=0"),
        *("codebook.reseed_every=0", "codebook.reseed_until=1.5", "codebook.start=-1"),
        *("codebook.reservoir=0", "rate.boost_until=0.0", "rate.lambdas=[1, 1, 0, 1]"),
        *("rate.targets=[1, 1, -1, 1]", "rate.level_scales=[0, 1, 1, 1]", "rate.noise_until=2.0"),
    ],
)
def test_numbers_out_of_range_are_refused(write_config, tmp_path, override):
    key = override.partition("=")[0]
    with pytest.raises(InvalidArgumentError, match=rf"^config: {key}: expected .*, got "):
        load_config(write_config(tmp_path, "stage1"), [override])


def test_rules_name_keys_that_there_are(write_config, tmp_path):
    """Every key that has a rule is looked up when a configuration is read; none twice."""
    load_config(write_config(tmp_path, "stage1"), [])
    keys = [key for _, _, some in RULES for key in some.split()]
    assert len(keys) == len(set(keys))


def test_config_reads_numbers_as_people_write_them(write_config, tmp_path):
    path = write_config(tmp_path, "stage1")
    overrides = ["learning_rate=6e-4", "clip=2", "rate.lambdas=[1, 5e-1, 0.25, 1e-1]"]
    config = load_config(path, overrides)
    assert config.learning_rate == 6e-4
    assert config.clip == 2.0
    assert config.rate.lambdas == (1.0, 0.5, 0.25, 0.1)


@pytest.mark.parametrize(
    ("override", "levels"),
    [
        *(("data.crop=72", False), ("data.validation_crop=100", False)),
        *(("rate.lambdas=[1, 2]", True), ("rate.lambdas=[]", True), ("rate.targets=[0.1]", True)),
        ("rate.level_scales=[1, 1, 1, 1, 1]", True),
    ],
)
def test_what_does_not_suit_the_model_is_refused(write_config, tmp_path, override, levels):
    config = load_config(write_config(tmp_path, "stage1"), [override])
    key = override.partition("=")[0]
    with pytest.raises(InvalidArgumentError, match=rf"config: {key}: expected .*model"):
        check_model(config, preset("glc-tiny"), levels=levels)
    if levels:  # Stage I does not look at them
        check_model(config, preset("glc-tiny"), levels=False)


def test_a_crop_that_the_predictor_cannot_take_is_refused(write_config, tmp_path):
    config = load_config(write_config(tmp_path, "stage2"), ["data.crop=128"])
    with pytest.raises(
        InvalidArgumentError, match=r"^config: data\.crop: expected 64, .* got 128$"
    ):
        check_model(config, preset("glc-tiny"), levels=True, codes=True)
    check_model(config, preset("glc-tiny"), levels=True)


def test_a_crop_that_the_model_cannot_take_is_refused_before_training(write_config, tmp_path):
    path = write_config(tmp_path, "stage1")
    with pytest.raises(InvalidArgumentError, match=r"data\.validation_crop: expected a multiple"):
        run("stage1", path, ["data.validation_crop=72"], False)
    assert not (tmp_path / "stage1").exists()


@pytest.mark.parametrize(
    ("stage", "override", "read_by"),
    [
        ("stage2", "features.weights=vgg.pth", "stage1"),
        ("stage2", "features.share=1.0", "stage3"),
        ("stage2", "adversarial.weight=0.5", "stage3"),
        ("stage2", "quantized_share=1.0", "stage1"),
        ("stage1", "rate.lambdas=[1, 2, 3, 4]", "stage2"),
        ("stage1", "levels_per_image=2", "stage3"),
        ("stage3", "latent_noise=0.1", "stage1"),
        ("stage3", "codebook.start=7", "stage2"),
        ("stage3", "rate.level_scales=[1, 2, 3, 4]", "stage2"),
    ],
)
def test_a_setting_that_a_stage_does_not_read_is_told(
    write_config, tmp_path, recwarn, stage, override, read_by
):
    key = override.partition("=")[0]
    path = write_config(tmp_path, stage, adversarial="{}", codebook="{}")
    layout = preset("glc-tiny")
    for asked in (stage, read_by):
        warn_of_unread(asked, load_config(path, []), layout)
    warn_of_unread(read_by, load_config(path, [override]), layout)
    assert not recwarn.list
    with pytest.warns(UserWarning, match=f"^config: {key}: set, but {stage} .* read it$"):
        warn_of_unread(stage, load_config(path, [override]), layout)


@pytest.mark.parametrize(
    ("override", "switch"),
    [
        ("features.weight=2.0", "features.weights=squeezenet.pth"),
        (
            "features.heads=heads.pth",
            "features={network: lpips-vgg, weights: vgg.pth, heads: h.pth}",
        ),
        ("adversarial.width=32", "adversarial.weight=0.5"),
        ("rate.gain=0.1", "rate.targets=[1, 1, 1, 1]"),
        ("rate.boost_until=0.5", "rate.boost=2.0"),
    ],
)
def test_a_setting_that_another_switches_off_is_told(
    write_config, tmp_path, recwarn, override, switch
):
    key = override.partition("=")[0]
    path, layout = write_config(tmp_path, "stage3", codebook="{}"), preset("glc-tiny")
    warn_of_unread("stage3", load_config(path, [switch, override]), layout)
    assert not recwarn.list
    with pytest.warns(UserWarning, match=f"^config: {key}: set, but stage3 .* read it$"):
        warn_of_unread("stage3", load_config(path, [override]), layout)


def test_a_preset_that_is_not_the_model_is_told(write_config, tmp_path, recwarn):
    config = load_config(write_config(tmp_path, "stage2", adversarial="{}"), [])
    warn_of_unread("stage2", config, preset("glc-tiny"))
    assert not recwarn.list
    with pytest.warns(UserWarning, match="^config: model: set, but stage2"):
        warn_of_unread("stage2", config, preset("glc-image"))


@pytest.mark.parametrize(
    ("recipe", "model", "stage"),
    [
        *(("train_small", "glc-image-small", stage) for stage in STAGES),
        *(("train_face", "glc-face", stage) for stage in STAGES[:3]),
    ],
)
def test_the_examples_set_what_is_read(recwarn, recipe, model, stage):
    config, layout = load_config(EXAMPLES / recipe / f"{stage}.yaml", []), preset(model)
    codes = stage in ("stage2", "stage3") and config.code_weight > 0
    check_model(config, layout, levels=stage in ("stage2", "stage3"), codes=codes)
    warn_of_unread(stage, config, preset(config.model))
    assert not recwarn.list
    assert stage != "stage1" or config.model == model


def test_a_run_tells_what_it_does_not_read(write_config, tmp_path):
    with pytest.warns(UserWarning, match=r"config: code_weight: set, but stage1"):
        run("stage1", write_config(tmp_path, "stage1", steps=3), ["code_weight=1.0"], False)
