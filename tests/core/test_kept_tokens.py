from compress.core.kept_tokens import KeptTokens


def test_numbers_come_back_in_order_from_few_bytes() -> None:
    numbers = tuple(sorted({number * number % 30_522 for number in range(9_000)}))
    kept = KeptTokens.of(reversed(numbers), 30_522)
    assert KeptTokens.model_validate_json(kept.model_dump_json()).numbers == numbers
    assert len(kept.mask) < 6_000
    assert KeptTokens.of([0, 8], 9).numbers == (0, 8)
