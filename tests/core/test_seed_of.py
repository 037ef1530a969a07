from compress.core.seed_of import seed_of


def test_seeds_differ_between_neighbours_and_orders():
    seeds = {seed_of(a, b, c) for a in range(3) for b in range(30) for c in range(10)}
    assert len(seeds) == 900
    assert seed_of(1, 23) != seed_of(12, 3)
