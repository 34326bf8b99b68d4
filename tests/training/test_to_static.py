"""Runs by programs (`to_static`): they go on as they began, and say what programs do not do."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from paddlenlp_ext.errors import UserError
from tests.training.test_compiled_layers import Stop, stop
from tests.training.tiny_task import encoder, train

pytestmark = pytest.mark.skipif(paddle.__version__ < "3", reason="its SOT knows less of Python")


@pytest.mark.parity
def test_a_run_goes_on_as_it_began(tmp_path):
    encoder(tmp_path / "encoder")
    whole = train(tmp_path, output="whole", to_static=True, num_train_epochs=2)
    with pytest.raises(Stop):
        train(tmp_path, stop, to_static=True, num_train_epochs=2)
    with pytest.raises(UserError, match=r"`to_static` True \(now False\)"):
        train(tmp_path, num_train_epochs=2)
    rest = train(tmp_path, to_static=True, num_train_epochs=2)
    assert min(rest["losses"]) == 5
    assert rest["digest"] == whole["digest"]


def test_it_learns_what_a_run_without_programs_does(tmp_path):
    encoder(tmp_path / "encoder", dropout=0.0)
    runs = [
        train(tmp_path, output=str(way), to_static=way, num_train_epochs=1, learning_rate=1e-3)
        for way in (False, True)
    ]
    one, other = ([run["losses"][step] for step in sorted(run["losses"])] for run in runs)
    np.testing.assert_allclose(one, other, atol=1e-6, rtol=0)
    np.testing.assert_allclose(runs[0]["evaluations"], runs[1]["evaluations"], atol=1e-6)


@pytest.mark.parametrize("setting", ["recompute", "use_amp"])
def test_what_programs_do_not_do_is_refused(tmp_path, setting):
    encoder(tmp_path / "encoder")
    with pytest.raises(UserError, match=rf"`to_static`: .* leave out `{setting}`"):
        train(tmp_path, to_static=True, **{setting: True})
