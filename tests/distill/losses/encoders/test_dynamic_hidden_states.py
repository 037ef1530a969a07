"""Layer-wise dynamic distillation: the map follows the nearest layers, weights follow uncertainty and agreement."""

import torch

from compress.distill.losses.encoders.dynamic_hidden_states import DynamicHiddenStates, gradient_agreement
from compress.distill.losses.encoders.hidden_states import HiddenStates, hidden_states
from compress.train.features.discover_layers import LayerCatalog
from tests.distill.losses.encoders.encoder_checks import encoder, loss_of, tokens
from tests.models.text.expert_networks import expert_decoder
from tests.tasks.text.text_arrays import tokens as texts


def test_with_equal_weights_and_one_map_it_is_the_loss_of_hidden_states():
    student, teacher, inputs = encoder(layers=2), encoder(seed=1, layers=4), tokens()
    term = DynamicHiddenStates(map="uniform", weights="equal", agreement=False)
    loss, _ = loss_of(term, student, teacher, inputs)
    expected, _ = loss_of(HiddenStates(embeddings=False), student, teacher, inputs)
    torch.testing.assert_close(loss, expected)


def test_each_layer_is_pulled_to_the_layers_that_it_is_nearest_to_now():
    teacher, inputs = encoder(seed=1, layers=3), tokens(padding=2)
    student = encoder(layers=2)
    loss, matcher = loss_of(DynamicHiddenStates(weights="equal", agreement=False), student, teacher, inputs)
    assert len(matcher.rows()) == 6
    states_s, states_t = (net.network(**inputs, output_hidden_states=True).hidden_states for net in (student, teacher))
    mask, terms = inputs["attention_mask"].bool(), []
    for m in (1, 2):
        d = torch.stack([hidden_states(states_s[m], states_t[n], mask).mean() for n in (1, 2, 3)])
        w = (-d / d.mean()).softmax(0)
        assert int(w.argmax()) == int(d.argmin())
        terms.append((w.detach() * d).sum())
    torch.testing.assert_close(loss, torch.stack(terms).mean())


def test_the_learned_variance_lowers_the_weight_of_layers_that_are_far_off():
    student, teacher, inputs = encoder(layers=2), encoder(seed=1, layers=2), tokens()
    term = DynamicHiddenStates(map="uniform", agreement=False)
    _, matcher = loss_of(term, student, teacher, inputs)
    (s,) = matcher.loss_modules["0"]["log_variance"]
    optimizer = torch.optim.SGD([s], lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        loss_of(term, student, teacher, inputs, matcher)[0].backward()
        optimizer.step()
    states_s, states_t = (net.network(**inputs, output_hidden_states=True).hidden_states for net in (student, teacher))
    d = torch.stack([hidden_states(states_s[m], states_t[m], inputs["attention_mask"].bool()).mean() for m in (1, 2)])
    torch.testing.assert_close(s.detach(), d.detach().log(), atol=0.05, rtol=0.05)  # the minimum of ½ (e⁻ˢ d + s)


def test_agreement_is_the_cosine_of_the_gradients_and_never_below_zero():
    h = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    other = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1))
    d = torch.stack([(h * 2).sum(), -(h * 2).sum(), (h * other).sum()])
    a = gradient_agreement(3 * h.sum(), d, [h, h, h])
    cosine = torch.nn.functional.cosine_similarity(other.flatten(), torch.ones(24), dim=0).clamp(min=0)
    torch.testing.assert_close(a, torch.stack([torch.tensor(1.0), torch.tensor(0.0), cosine]))
    assert gradient_agreement(torch.zeros((), requires_grad=True) * 1.0, d[:1], [h]).tolist() == [0.0]


def test_layers_that_pull_against_the_task_rest_and_others_reach_the_student():
    inputs, norms = tokens(padding=3), []
    for seed in range(6):
        student = encoder(layers=2, seed=seed)
        loss, _ = loss_of(DynamicHiddenStates(weights="equal"), student, encoder(seed=seed + 10, layers=3, width=24), inputs)
        loss.backward()
        first = student.network.get_parameter("bert.encoder.layer.0.output.dense.weight").grad
        norms.append(0.0 if first is None else float(first.norm()))
        assert (float(loss.detach()) > 0) == (norms[-1] > 0)
    assert max(norms) > 0


def test_blocks_of_decoders_are_found():
    network = expert_decoder()
    found = LayerCatalog(network, tuple(texts(2, 0).values()), "student").layers_of_kind("hidden")
    assert [layer.hook.name.rpartition("model.")[2] for layer in found] == ["embed_tokens", "layers.0", "layers.1"]
