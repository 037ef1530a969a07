import logging
import sys
import warnings

from compress.backends.exporter_messages import LOGGERS, innermost_reason, quiet_exporters


def test_the_innermost_cause_is_said_in_one_line_with_its_operator():
    try:
        try:
            raise ValueError("size is 3\nmore lines")
        except ValueError as inner:
            raise RuntimeError("while converting aten.grid_sampler.default") from inner
    except RuntimeError as error:
        reason = innermost_reason(error)
    assert reason == "operator aten.grid_sampler.default: ValueError: size is 3"
    assert innermost_reason(KeyError("x")) == "KeyError: 'x'"


def test_exporters_are_quiet_and_levels_come_back(capsys):
    logger = logging.getLogger(LOGGERS[0])
    logger.setLevel(logging.INFO)
    with quiet_exporters():
        assert logger.level == logging.ERROR
        print("a graph", file=sys.stderr)
        warnings.warn_explicit("old", DeprecationWarning, "torch/x.py", 1, module="torch.x")
    assert logger.level == logging.INFO
    assert capsys.readouterr().err == ""
