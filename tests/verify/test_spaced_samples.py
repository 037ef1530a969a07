from compress.verify.spaced_samples import evenly_spaced


def test_samples_are_spread_evenly() -> None:
    assert evenly_spaced(10, 3).tolist() == [0, 4, 9]
    assert evenly_spaced(3, 10).tolist() == [0, 1, 2]
    assert len(evenly_spaced(539, 100)) == 100
