"""Learning from refused positions: the loss, and a draft that is taken more often afterwards."""

import copy

import numpy as np
import torch
from torch.nn import functional as F

from compress.backends.decoder.session import DecoderSession
from compress.backends.decoder.speculative import SpeculativeDecoder
from compress.distill.speculative.module_session import ModuleSession
from compress.distill.speculative.online_updates import online_loss, serve_and_learn
from compress.distill.speculative.requests import Acceptance, ServedRequest, serve
from compress.distill.speculative.stage import OnlineUpdates
from tests.backends.decoder.speculative_pairs import near_copy, sessions
from tests.export.decoder_artifacts import MOST


def test_a_module_reads_as_its_file_does(language_artifact, tmp_path):
    candidate = language_artifact[1]
    file = sessions(candidate, candidate.network(), tmp_path)[0]
    module = ModuleSession(candidate.network(), MOST)
    for session in (file, module):
        session.start(MOST)
    for tokens in ([5, 9, 11], [7], [3, 4]):
        np.testing.assert_allclose(module.read(tokens), file.read(tokens), atol=1e-3, rtol=1e-3)
    for session in (file, module):
        session.rewind(4)
    np.testing.assert_allclose(module.read([8]), file.read([8]), atol=1e-3, rtol=1e-3)


def test_the_loss_is_the_mean_divergence_over_refused_places_of_texts_of_any_length(language_artifact):
    network = near_copy(language_artifact[1], 0.1)
    wanted = np.random.default_rng(0).normal(size=(3, 300)).astype(np.float32)
    vocabulary = network(torch.tensor([[1]]), torch.ones(1, 1, dtype=torch.long)).shape[-1]
    wanted = wanted[:, :vocabulary]
    requests = [ServedRequest([5, 6], [7, 8, 9], {1: wanted[0], 3: wanted[1]}), ServedRequest([4], [3], {0: wanted[2]})]
    parts = []
    for each in requests:
        ids = torch.tensor([[*each.prompt, *each.tokens]])
        logits = network(ids, torch.ones_like(ids))[0]
        parts += [
            F.kl_div(logits[place].log_softmax(0), torch.from_numpy(values).softmax(0), reduction="sum")
            for place, values in each.rejected.items()
        ]
    torch.testing.assert_close(online_loss(network, requests), torch.stack(parts).mean(), atol=1e-4, rtol=1e-4)


def test_a_draft_is_taken_more_often_after_it_served(language_artifact, tmp_path):
    candidate = language_artifact[1]
    draft = near_copy(candidate, 0.1)
    target: DecoderSession = sessions(candidate, draft, tmp_path)[0]
    prompts = [[int(n) for n in row] for row in np.random.default_rng(1).integers(5, 30, size=(24, 4))]

    def rate():
        acceptance = Acceptance()
        decoder = SpeculativeDecoder(target, ModuleSession(draft, MOST), 4)
        for prompt in prompts[:8]:
            serve(decoder, prompt, most=16, stops=(), acceptance=acceptance)
        return acceptance.rate

    before, weights = rate(), copy.deepcopy(draft.state_dict())
    settings = OnlineUpdates(requests=24, update_every=4, steps=8, lr=3e-3)
    _, refused = serve_and_learn(target, draft, prompts, settings, k=4, most=16, stops=())
    assert refused > 20
    assert any(not torch.equal(tensor, weights[name]) for name, tensor in draft.state_dict().items())
    assert rate() > before + 0.1


def test_a_module_reads_no_token_twice_but_the_refused_ones(language_artifact):
    network = language_artifact[1].network()
    seen: list[int] = []
    table = network.network.get_input_embeddings()
    handle = table.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0].numel()))
    session = ModuleSession(network, MOST)
    session.read([5, 9, 11])
    session.read([7])
    session.rewind(2)
    session.read([8, 3])
    session.start()
    session.read([4])
    handle.remove()
    assert seen == [3, 1, 2, 1]


def test_judged_places_that_were_taken_count_by_their_weight(language_artifact, tmp_path):
    candidate = language_artifact[1]
    draft = near_copy(candidate, 0.02)
    target = sessions(candidate, draft, tmp_path)[0]
    decoder = SpeculativeDecoder(target, ModuleSession(draft, MOST), 4)
    served = serve(decoder, [6, 9, 12, 4], most=16, stops=(), acceptance=Acceptance(), keep_taken=True)
    places = range(3, 3 + len(served.tokens))
    assert sorted([*served.rejected, *served.taken]) == [*places]
    text = [*served.prompt, *served.tokens]
    for place, logits in (served.rejected | served.taken).items():
        assert int(logits.argmax()) == text[place + 1]
    judged = [ServedRequest(served.prompt, served.tokens, places) for places in (served.rejected, served.taken)]
    refused, taken = (online_loss(draft, [each], "reverse") for each in judged)
    weights = len(served.rejected), 0.25 * len(served.taken)
    expected = (weights[0] * refused + weights[1] * taken) / sum(weights)
    torch.testing.assert_close(online_loss(draft, [served], "reverse", 0.25), expected, atol=1e-4, rtol=1e-4)
