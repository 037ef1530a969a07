import torch

from compress.tasks.text.best_span import best_spans


def test_spans_are_the_best_of_all_allowed_ones():
    generator = torch.Generator().manual_seed(0)
    start, end = torch.randn(20, 9, generator=generator), torch.randn(20, 9, generator=generator)
    allowed = torch.rand(20, 9, generator=generator) < 0.7
    allowed[:, 3] = True
    found = best_spans(start, end, allowed, most=4)
    for n in range(20):
        places = [place for place in range(9) if allowed[n, place]]
        scores = {(i, j): float(start[n, i] + end[n, j]) for i in places for j in places if i <= j < i + 4}
        best = max(scores, key=scores.get)
        assert (int(found.starts[n]), int(found.ends[n])) == best
        assert abs(float(found.scores[n]) - scores[best]) < 1e-6
