from compress.config.starter import OFFERS, WANTED
from compress.core.registry import names


def test_every_task_of_the_registry_is_offered():
    assert set(OFFERS) == set(WANTED) == set(names("task"))


def test_offered_sources_exist():
    for task, offer in OFFERS.items():
        assert {source.partition(":")[0] for source in offer.networks} <= set(names("model")), task
        assert {source.partition(":")[0] for source in offer.data} <= set(names("data")), task
        assert offer.tolerance > 0
