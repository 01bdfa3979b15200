"""Watched torch models: histograms of gradients and parameters, the table of layers, and nothing left behind."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lineart
from lineart.storage.errors import UsageError
from lineart.tracking.model_graph import ModelGraph, output_shape
from lineart.tracking.watch import unwatch, watch

torch: Any = pytest.importorskip("torch", reason="torch is not installed (requirements/frameworks.txt)")
nn = torch.nn


def net(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def train(model: Any, batches: int, run: lineart.Run | None = None, inputs: Any = None) -> None:
    """Batches of forward and backward, each with a row of the run's."""
    data = torch.arange(12.0).reshape(3, 4) if inputs is None else inputs
    for _ in range(batches):
        loss = model(data).pow(2).mean()
        loss.backward()
        if run is not None:
            run.log({"loss": loss.item()})


def rows(run: lineart.Run) -> list[dict[str, Any]]:
    return list(lineart.Api().run(run.path).scan_history())


def with_key(run: lineart.Run, key: str) -> list[int]:
    """The steps that have a metric."""
    return [row["_step"] for row in rows(run) if row.get(key) is not None]


def hooks(model: Any) -> int:
    """How many hooks hang on a model, its layers and its parameters."""
    of_layers = sum(len(layer._forward_hooks) + len(layer._forward_pre_hooks) for layer in model.modules())
    return of_layers + sum(len(parameter._backward_hooks or {}) for parameter in model.parameters())


# Histograms in the history


def test_gradients_are_in_the_row_of_every_nth_batch_and_of_the_first() -> None:
    with lineart.init() as run:
        model = net()
        run.watch(model, log_freq=3)
        train(model, 7, run)
    assert with_key(run, "gradients/0.weight") == [0, 3, 6]
    assert with_key(run, "loss") == list(range(7))
    keys = {key for row in rows(run) for key in row}
    assert {key for key in keys if "/" in key} == {
        f"gradients/{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")
    }


def test_gradient_histogram_is_that_of_the_gradient() -> None:
    with lineart.init() as run:
        model = net()
        run.watch(model, log_freq=1)
        train(model, 1, run)
    logged = rows(run)[0]["gradients/0.weight"]
    gradient = model[0].weight.grad.numpy()
    counts, edges = np.histogram(gradient.astype(np.float64), bins=64)
    assert logged["_type"] == "histogram"
    assert logged["values"] == counts.tolist()
    assert np.allclose(logged["bins"], edges)


def test_parameters_alone_need_no_backward_pass() -> None:
    with lineart.init() as run:
        model = net()
        run.watch(model, log="parameters", log_freq=2)
        for _ in range(3):
            model(torch.ones(1, 4))
            run.log({"x": 1})
    assert with_key(run, "parameters/2.bias") == [0, 2]
    assert with_key(run, "gradients/2.bias") == []


def test_all_logs_both_in_one_row() -> None:
    with lineart.init() as run:
        model = net()
        run.watch(model, log="all", log_freq=10)
        train(model, 2, run)
    assert with_key(run, "parameters/0.bias") == with_key(run, "gradients/0.bias") == [0]


def test_histograms_stay_out_of_the_summary() -> None:
    with lineart.init() as run:
        model = net()
        run.watch(model, log="all", log_freq=1)
        train(model, 2, run)
    summary = lineart.Api().run(run.path).summary
    assert "loss" in summary
    assert not [key for key in summary if key.startswith(("gradients/", "parameters/"))]


def test_evaluation_without_gradients_is_no_batch() -> None:
    with lineart.init() as run:
        model = net()
        run.watch(model, log="all", log_freq=2)
        for _ in range(3):
            with torch.no_grad():
                model(torch.ones(1, 4))
            with torch.inference_mode():
                model(torch.ones(1, 4))
            train(model, 1, run)
    assert with_key(run, "gradients/0.weight") == [0, 2]


def test_frozen_and_unused_layers_have_no_gradients_and_do_no_harm() -> None:
    class Partly(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.used, self.frozen, self.idle = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
            self.frozen.requires_grad_(False)

        def forward(self, x: Any) -> Any:
            return self.used(self.frozen(x))

    with lineart.init() as run:
        model = Partly()
        run.watch(model, log_freq=2)
        train(model, 3, run)
        assert with_key(run, "gradients/used.weight") == [0, 2]
    assert with_key(run, "gradients/frozen.weight") == []
    assert with_key(run, "gradients/idle.weight") == []
    assert hooks(model) == 0


def test_a_parameter_shared_by_two_layers_is_logged_once_with_the_whole_gradient() -> None:
    with lineart.init() as run:
        model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
        model[1].weight = model[0].weight
        run.watch(model, log_freq=1, log_graph=True)
        train(model, 1, run, torch.ones(2, 3))
    assert with_key(run, "gradients/0.weight") == [0]
    assert with_key(run, "gradients/1.weight") == []
    highest = rows(run)[0]["gradients/0.weight"]["bins"][-1]
    assert highest == pytest.approx(model[0].weight.grad.max().item())
    assert ModelGraph.of(model).parameters == 9


def test_a_model_that_is_not_called_itself_is_watched_by_the_part_that_is_called_first() -> None:
    class Task(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.head, self.body = nn.Linear(8, 1), nn.Sequential(nn.Linear(4, 8), nn.ReLU())

        def step(self, x: Any) -> Any:
            return self.head(self.body(x)).mean()

    with lineart.init() as run:
        task = Task()
        run.watch(task, log_freq=2, log_graph=True)
        for _ in range(5):
            task.step(torch.ones(3, 4)).backward()
            run.log({"x": 1})
        text = (Path(run.dir) / "graph" / "model.txt").read_text(encoding="utf-8")
        assert hooks(task) == 1
    assert with_key(run, "gradients/head.weight") == [0, 2, 4]
    assert with_key(run, "gradients/body.0.weight") == [0, 2, 4]
    assert with_key(run, "graph/model") == [1]
    assert "3×1" in text
    assert hooks(task) == 0


def test_two_passes_before_one_backward_give_one_histogram() -> None:
    with lineart.init() as run:
        model = net()
        run.watch(model, log_freq=1)
        (model(torch.ones(1, 4)) + model(torch.zeros(1, 4))).sum().backward()
        run.log({"x": 1})
    assert with_key(run, "gradients/0.weight") == [0]
    assert hooks(model) == 0


def test_lazy_layers_are_watched_once_they_have_shapes() -> None:
    with lineart.init() as run:
        model = nn.Sequential(nn.LazyLinear(5), nn.LazyLinear(2))
        run.watch(model, log="all", log_freq=1, log_graph=True)
        train(model, 2, run)
    assert with_key(run, "gradients/0.weight") == [0, 1]
    assert ModelGraph.of(model).parameters == 4 * 5 + 5 + 5 * 2 + 2
    assert ModelGraph.of(nn.Sequential(nn.LazyLinear(5))).parameters == 0


def test_a_tensor_that_cannot_be_counted_is_told_once_and_training_goes_on() -> None:
    class Odd(torch.Tensor):  # type: ignore[misc, name-defined]
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if "aminmax" in str(func):
                raise NotImplementedError("no aminmax here")
            return super().__torch_function__(func, types, args, kwargs or {})

    with lineart.init() as run:
        model = nn.Linear(2, 2)
        model.weight = nn.Parameter(torch.ones(2, 2).as_subclass(Odd))
        run.watch(model, log="parameters", log_freq=1)
        with pytest.warns(UserWarning, match="parameters/weight cannot be counted: no aminmax"):
            model(torch.ones(1, 2))
        model(torch.ones(1, 2))
        run.log({"x": 1})
    assert len(with_key(run, "parameters/bias")) == 1


# Several models


def test_models_have_names_of_their_own() -> None:
    with lineart.init() as run:
        first, second, third = net(1), net(2), net(3)
        run.watch((first, second), log_freq=1, log_graph=True)
        run.watch(third, log_freq=1)
        for model in (first, second, third):
            train(model, 1)
        run.log({"x": 1})
    found = rows(run)[0]
    for prefix in ("", "model_1/", "model_2/"):
        assert found[f"gradients/{prefix}0.weight"]["_type"] == "histogram"
    assert {key for key in found if key.startswith("graph/")} == {"graph/model", "graph/model_1"}


def test_a_model_that_is_watched_again_keeps_its_name() -> None:
    with lineart.init() as run:
        first, second = net(1), net(2)
        run.watch(first)
        run.watch(second, log_freq=1)
        run.unwatch(second)
        run.watch(second, log_freq=1)
        train(second, 1, run)
    assert with_key(run, "gradients/model_1/0.weight") == [0]


def test_index_given_by_hand_names_the_model() -> None:
    with lineart.init() as run:
        model, other = net(1), net(2)
        run.watch(model, log_freq=1, idx=4)
        with pytest.raises(UsageError, match="idx 4 is taken"):
            run.watch(other, idx=4)
        train(model, 1, run)
    assert with_key(run, "gradients/model_4/0.weight") == [0]


def test_wrappers_do_not_change_the_names() -> None:
    with lineart.init() as run:
        model = nn.DataParallel(net())
        run.watch(model, log="all", log_freq=1, log_graph=True)
        train(model, 1, run)
    found = rows(run)[0]
    assert {"gradients/0.weight", "parameters/0.weight", "graph/model"} <= set(found)
    assert not [key for key in found if "module" in key]


@pytest.mark.slow
def test_a_compiled_model_is_watched_however_it_was_compiled() -> None:
    for number, how in enumerate(("before", "after", "in place")):
        torch._dynamo.reset()
        with lineart.init() as run:
            model = net()
            compiled = torch.compile(model, backend="eager") if how != "in place" else model
            if how == "in place":
                model.compile(backend="eager")
            run.watch(compiled if how == "before" else model, log="all", log_freq=2, log_graph=True)
            train(compiled, 5, run)
        assert with_key(run, "gradients/0.weight") == [0, 2, 4], (number, how)
        assert with_key(run, "parameters/0.weight") == [0, 2, 4], how
        assert with_key(run, "graph/model") == [0], how


# The model's layers


def test_graph_is_a_table_with_shapes_and_counts_and_a_file_of_the_run() -> None:
    with lineart.init() as run:
        model = net()
        model[2].bias.requires_grad_(False)
        run.watch(model, criterion=nn.CrossEntropyLoss(), log=None, log_graph=True)
        assert hooks(model) > 0
        train(model, 1, run)
        assert hooks(model) == 0
        text = (Path(run.dir) / "graph" / "model.txt").read_text(encoding="utf-8")
        train(model, 2, run)
    assert with_key(run, "graph/model") == [0]
    logged = rows(run)[0]["graph/model"]
    assert (logged["nrows"], logged["ncols"]) == (4, 5)
    table = ModelGraph.of(model, {"": "3×2", "0": "3×8", "1": "3×8", "2": "3×2"}).table()
    assert table.data == [
        ["(model)", "Sequential", "3×2", 0, 0],
        ["0", "Linear", "3×8", 40, 40],
        ["1", "ReLU", "3×8", 0, 0],
        ["2", "Linear", "3×2", 18, 16],
    ]
    assert "58 parameters, 56 of them trainable, 232 bytes" in text
    assert "criterion: CrossEntropyLoss()" in text
    assert "3×8" in text
    saved = {file.name for file in lineart.Api().run(run.path).files()}
    assert "graph/model.txt" in saved


def test_graph_of_a_model_that_never_ran_is_logged_without_shapes() -> None:
    with lineart.init() as run:
        run.watch(model := net(), log_graph=True)
    assert hooks(model) == 0
    assert with_key(run, "graph/model") == [0]


def test_graph_of_the_first_pass_survives_one_that_failed() -> None:
    with lineart.init() as run:
        model = net()
        run.watch(model, log=None, log_graph=True)
        with pytest.raises(RuntimeError):
            model(torch.ones(1, 3))
        train(model, 1, run)
        assert "3×8" in (Path(run.dir) / "graph" / "model.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "output, shape",
    [
        (lambda: torch.ones(2, 3), "2×3"),
        (lambda: torch.tensor(1.0), "scalar"),
        (lambda: (torch.ones(2), None, [torch.ones(3, 1)]), "(2, (3×1))"),
        (lambda: {"logits": torch.ones(2, 5), "loss": None}, "{logits: 2×5}"),
        (lambda: None, ""),
        (lambda: "text", ""),
    ],
)
def test_output_shapes_are_written_shortly(output: Any, shape: str) -> None:
    assert output_shape(output()) == shape


# Nothing is left behind


def test_unwatch_takes_every_hook_off() -> None:
    with lineart.init() as run:
        model, other = net(1), net(2)
        run.watch([model, other], log="all", log_freq=1, log_graph=True)
        model(torch.ones(1, 4))
        assert hooks(model) > 0
        run.unwatch(model)
        assert hooks(model) == 0
        assert hooks(other) > 0
        run.unwatch()
        assert hooks(other) == 0
        train(model, 2)
    assert [key for row in rows(run) for key in row if key.startswith("gradients/")] == []


def test_finish_takes_every_hook_off_and_training_goes_on() -> None:
    with lineart.init() as run:
        model = net()
        run.watch(model, log="all", log_freq=1, log_graph=True)
        model(torch.ones(1, 4))
    assert hooks(model) == 0
    train(model, 2)


def test_watching_keeps_no_model_alive() -> None:
    with lineart.init() as run:
        gc.disable()  # so that a cycle would be seen
        try:
            model = net()
            run.watch(model, log="all", log_freq=1, log_graph=True, criterion=nn.MSELoss())
            train(model, 2, run)
            alive = [weakref.ref(model), weakref.ref(model[0]), weakref.ref(model[0].weight)]
            del model
            assert [reference() for reference in alive] == [None, None, None]
        finally:
            gc.enable()
        for seed in range(50):
            run.watch(net(seed))
        from lineart.tracking.watch import _watching

        assert len(_watching[run].watches) == 1


def test_parameters_that_get_no_gradient_die_with_their_model() -> None:
    with lineart.init() as run:
        gc.disable()
        try:
            model = nn.ModuleDict({"used": nn.Linear(2, 2), "idle": nn.Linear(2, 2)})
            run.watch(model, log_freq=1)
            model["used"](torch.ones(1, 2)).sum().backward()
            alive = weakref.ref(model["idle"].weight)
            del model
            assert alive() is None
        finally:
            gc.enable()


def test_a_model_keeps_no_run_alive() -> None:
    model = net()
    run = lineart.init()
    run.watch(model, log_freq=1)
    alive = weakref.ref(run)
    run.finish()
    with lineart.init():
        del run
        gc.collect()
        assert alive() is None
    train(model, 1)


def test_copies_and_pickles_are_not_watched_and_need_no_lineart() -> None:
    with lineart.init() as run:
        model = net()
        run.watch(model, log="all", log_freq=1, log_graph=True)
        early = copy.deepcopy(model)
        model(torch.ones(1, 4))
        late = copy.deepcopy(model)
        data = io.BytesIO()
        torch.save(model, data)
        pickled = pickle.dumps(early)
        for other in (
            early,
            late,
            torch.load(io.BytesIO(data.getvalue()), weights_only=False),
            pickle.loads(pickled),
        ):
            train(other, 1)
        run.log({"x": 1})
    assert b"lineart" not in data.getvalue() + pickled
    assert with_key(run, "gradients/0.weight") == []
    assert rows(run)[0]["parameters/0.weight"] is not None


# Bad input


@pytest.mark.parametrize("thing", [object(), 3, "model", None, [nn.Linear(1, 1), 3], []])
def test_what_is_no_torch_model_is_refused(thing: Any) -> None:
    with lineart.init() as run:
        with pytest.raises(UsageError, match=r"watch: .*torch\.nn\.Module"):
            run.watch(thing)
        with (
            pytest.raises(UsageError, match=r"unwatch: .*torch\.nn\.Module")
            if thing is not None
            else NO_ERROR
        ):
            run.unwatch(thing)


class _NoError:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass


NO_ERROR = _NoError()


def test_refusal_without_torch_imports_no_torch() -> None:
    code = (
        "import sys; from lineart.tracking.watch import _modules\n"
        "try: _modules(3, 'watch')\n"
        "except Exception as error: assert 'torch.nn.Module' in str(error)\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "argument, value",
    [("log", "grads"), ("log_freq", 0), ("log_freq", 1.5), ("log_freq", True), ("idx", -1), ("idx", "0")],
)
def test_argument_out_of_range_is_refused(argument: str, value: Any) -> None:
    model = net()
    with lineart.init() as run, pytest.raises(UsageError, match=f"watch: {argument} is {value!r}"):
        watch(run, model, **{argument: value})
    assert hooks(model) == 0


def test_watching_twice_is_refused() -> None:
    with lineart.init() as run:
        model = net()
        run.watch(model)
        with pytest.raises(UsageError, match=r"watched already as 'model'; run\.unwatch\(model\) first"):
            run.watch(model)
        fresh = net()
        with pytest.raises(UsageError, match="watched already"):
            run.watch([fresh, fresh])
        assert hooks(fresh) == 0
    with lineart.init() as another:
        another.watch(model)


def test_unwatching_what_is_not_watched_warns() -> None:
    with lineart.init() as run, pytest.warns(UserWarning, match="Sequential is not watched"):
        unwatch(run, net())


def test_a_disabled_run_watches_nothing() -> None:
    model = net()
    with lineart.init(mode="disabled") as run:
        run.watch(model, log_freq=1)
        train(model, 1, run)
    assert hooks(model) == 0


# What it costs


@pytest.mark.slow
def test_between_two_looks_a_batch_costs_microseconds() -> None:
    def seconds(model: Any, batches: int = 300) -> float:
        data = torch.ones(2, 16)
        begun = time.perf_counter()
        for _ in range(batches):
            model(data).sum().backward()
        return (time.perf_counter() - begun) / batches

    layers = [nn.Linear(16, 16) for _ in range(30)]
    plain, watched = nn.Sequential(*layers), nn.Sequential(*copy.deepcopy(layers))
    with lineart.init() as run:
        run.watch(watched, log="all", log_freq=1_000_000)
        seconds(watched, 5)  # the look at the first batch
        found = [(seconds(plain), seconds(watched)) for _ in range(7)]
    added = min(after for _, after in found) - min(before for before, _ in found)
    # Measured: 4 µs on a batch of 500 µs; hooks that stay on the 60 parameters add 20 µs.
    assert added < 50e-6 + 0.05 * min(before for before, _ in found)
