from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backends.base import Backend
from backends.errors import OptionError
from backends.pipeline import Dim, GlueStep, Tensor
from backends.timing import glue

BACKEND = Backend({}, "0")
SIZES = {"batch": 2, "text": 4}


def step(op: str, dims: tuple[Dim, ...], dtype: str = "float32", **args: Any) -> GlueStep:
    """A step that reads slot 0 as tensor and slot 1 as lengths."""
    reads = {name: (slot, False) for slot, name in enumerate(("tensor", "lengths")) if name in args}
    out = Tensor("out", dims, dtype)
    return GlueStep("stage", op, out, args, reads, SIZES, {"frames": (0, 2)})


def make(built: GlueStep, *values: Any, iteration: int = 0, seed: int = 1) -> Any:
    return glue.build(built, BACKEND, seed)(list(values), iteration)


def test_zeros_have_the_shape_and_dtype_of_their_spec() -> None:
    made = make(step("zeros", (("batch",), (3,))))
    assert made.shape == (2, 3)
    assert made.dtype == np.float32
    assert not made.any()


def test_zeros_of_a_size_bound_inside_the_iteration_follow_the_tensor() -> None:
    assert make(step("zeros", (("batch",), ("frames", 8))), np.ones((2, 5, 7))).shape == (2, 56)


def test_padding_mask_is_true_beyond_each_length() -> None:
    built = step("padding_mask", (("batch",), ("text",)), "bool", lengths="lengths")
    made = make(built, None, np.array([4, 1], np.int32))
    assert made.dtype == np.bool_
    assert made.tolist() == [[False] * 4, [False, True, True, True]]


def test_crop_cuts_to_the_longest_length() -> None:
    built = step("crop", (("batch",), (5,), ("frames",)), tensor="t", lengths="l", axis=2)
    tensor = np.arange(70).reshape(2, 5, 7)
    made = make(built, tensor, np.array([[3], [6]]))
    assert np.array_equal(made, tensor[:, :, :6])


def test_crop_of_nothing_hands_the_same_tensor_on() -> None:
    built = step("crop", (("batch",), (5,), ("frames",)), tensor="t", lengths="l", axis=2)
    tensor = np.ones((2, 5, 7))
    assert make(built, tensor, np.array([7, 2])) is tensor


@pytest.mark.parametrize(("axis", "shape"), [(0, (1, 2, 5, 7)), (3, (2, 5, 7, 1))])
def test_unsqueeze_inserts_an_axis_without_a_copy(axis: int, shape: tuple[int, ...]) -> None:
    tensor = np.ones((2, 5, 7))
    made = make(step("unsqueeze", (), tensor="t", axis=axis), tensor)
    assert made.shape == shape
    assert made.base is tensor


def test_noise_follows_from_seed_and_iteration_alone() -> None:
    built = step("normal", (("batch",), (8,), ("frames", 32)))
    tensor = np.ones((2, 5, 70))
    made = make(built, tensor, iteration=4, seed=11)
    assert made.shape == (2, 8, 2240)
    assert made.dtype == np.float32
    assert abs(float(made.mean())) < 0.02
    assert abs(float(made.std()) - 1) < 0.02
    assert np.array_equal(made, make(built, tensor, iteration=4, seed=11))
    assert not np.array_equal(made, make(built, tensor, iteration=5, seed=11))
    assert not np.array_equal(made, make(built, tensor, iteration=4, seed=12))


def test_noise_of_another_dtype_is_refused() -> None:
    with pytest.raises(OptionError, match="float32 noise only"):
        glue.build(step("normal", (("batch",),), "float64"), BACKEND, 1)


def test_unknown_operation_lists_those_there_are() -> None:
    with pytest.raises(OptionError, match="'squash'; there are: crop, normal, padding_mask, unsq"):
        glue.build(step("squash", ()), BACKEND, 1)


def test_missing_argument_is_named() -> None:
    with pytest.raises(OptionError, match="glue crop before stage: no argument or size 'lengths'"):
        glue.build(step("crop", (), tensor="t", axis=1), BACKEND, 1)


def test_size_that_nothing_binds_is_named() -> None:
    with pytest.raises(OptionError, match="no argument or size 'groups'"):
        glue.build(step("zeros", (("groups",),)), BACKEND, 1)
