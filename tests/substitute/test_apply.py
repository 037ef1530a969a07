import copy

import torch

from compress import Substitute
from compress.substitute import apply as replacing
from compress.substitute import find_operators as survey
from compress.substitute import loop as steps
from tests.substitute.runs import ALL, run


def test_fitted_replacements_are_nearer_to_the_input_network(candidate, context, data):
    """Against the same structure without fits: gates dropped, kernels cropped, statistics as they were."""
    batches = steps.training_images(data.train, 64, 3)
    stage = Substitute(**ALL)
    operators = survey.find_replaceable(stage, candidate.module, batches[0][:2])
    bare = copy.deepcopy(candidate.module)
    for kind, names in operators.places.items():
        replacing.replace_without_fit(bare, kind, "relu6", names)
    fitted = run(candidate, context).candidate.module
    x = torch.cat([batch.input for batch in data.validation.ordered(32)])
    with torch.no_grad():
        reference = candidate.module(x)
        errors = [float((net(x) - reference).norm()) for net in (fitted, bare)]
    assert errors[0] < 0.7 * errors[1]
