"""Sentences of quantization."""

from __future__ import annotations

from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.sentences.table import Sentences

_LOSS = "has a worse {metric}, by {drop:.4f} ({low:.4f} to {high:.4f}), more than the allowed {max_drop:g}"
_LOSS_ALONE = "has a worse {metric}, by {drop:.4f}, more than the allowed {max_drop:g}"
_CHANGED = "changes {changed_tokens:.1%} of the greedy tokens, more than the allowed {max_changed_tokens:.1%}"
_ACCEPTANCE = (
    "acceptance test {verdict}; the quantized network takes {latency_ms:.3g} ms in {runtime}, the float network "
    "{float_latency_ms:.3g} ms in {float_runtime}"
)


def _acceptance(fact: Fact) -> str:
    values = fact.values
    faults = []
    if values.get("max_changed_tokens") is not None:
        faults.append(gettext(_CHANGED, **values))
    elif not values["accurate"]:
        named = {**values, "metric": gettext(str(values["metric"]))}
        faults.append(gettext(_LOSS_ALONE if values["low"] is None else _LOSS, **named))
    if values["slower"]:
        faults.append(gettext("is slower"))
    listed = gettext(" and ").join(faults)
    verdict = gettext("failed: the quantized network {faults}", faults=listed) if faults else gettext("passed")
    return gettext(_ACCEPTANCE, verdict=verdict, **values)


def _changed_tokens(fact: Fact) -> str:
    values = fact.values
    if not values["changed_texts"]:
        return gettext("none of {tokens} greedy tokens after {texts} validation prompts changes", **values)
    share = float(str(values["changed"])) / float(str(values["tokens"]))
    return gettext(
        "{changed} of {tokens} greedy tokens after {texts} validation prompts change ({share:.1%}); in the {changed_texts} "
        "texts that change, {first:g} tokens (median) come before the first changed one",
        share=share, **values,
    )  # fmt: skip


def _numeric_format(fact: Fact) -> str:
    values = fact.values
    if values["bits"] != 8:
        weights = gettext("{bits}-bit weights stored as int8, because no runtime has kernels with fewer bits")
    elif values["seven_bit_weights"]:
        weights = gettext("7-bit weights, because this CPU has no VNNI, and sums of 8-bit products saturate")
    else:
        weights = gettext("8-bit weights")
    activations = gettext("symmetric int8 activations") if values["symmetric"] else gettext("uint8 activations")
    by_network = (
        gettext("; symmetric int8 for the input, and for all activations of a network with layer normalisation")
        if values["symmetric_chosen_by_runtime"]
        else ""
    )
    return {
        "onnxruntime": gettext("onnxruntime: {activations}, {weights}", activations=activations, weights=weights),
        "openvino": gettext(
            "openvino: {activations}{by_network}, {weights}, quantized only before products, sums and pools; batch 1",
            activations=activations,
            by_network=by_network,
            weights=weights,
        ),
        "tensorrt": gettext("tensorrt: symmetric int8 activations, explicit Q/DQ, float biases; not run on this machine"),
    }[fact.subject].format(**values)


def _mixed_precision(fact: Fact) -> str:
    values = fact.values
    names = values["float_layers"]
    assert isinstance(names, tuple | list)  # noqa: S101  # JSON reads a tuple back as one
    cost, budget = {
        "drop": ("", "{budget:g}"),
        "bytes": (gettext(", {cost:,.0f} bytes"), gettext("{budget:,.0f} bytes")),
        "ms": (gettext(", {cost:.3g} ms measured at the end"), gettext("{budget:g} ms")),
    }[str(values["unit"])]
    verdict = gettext("is met") if values["within_budget"] else gettext("is not met by any trial, and this is the best one")
    end = "" if values["complete"] else gettext("; the search ended after {seconds:g} s")
    return gettext(
        "mixed precision: {count} of {layers} layers in {precision} ({names}), drop {drop:.4f}{cost_words}; the budget of "
        "{budget_words} {verdict}; {trials} trials{end}",
        precision=gettext("{bits} bits", bits=values["bits"]) if "bits" in values else gettext("float"),
        count=len(names),
        names=", ".join(map(str, names)) or gettext("none"),
        cost_words=cost.format(**values),
        budget_words=budget.format(**values),
        verdict=verdict,
        end=end.format(**values),
        **values,
    )


def _float_tail(fact: Fact) -> str:
    operators = fact.values["operators"]
    assert isinstance(operators, tuple | list)  # noqa: S101  # JSON reads a tuple back as one
    template = gettext(
        "the {count} operators behind the last layers with weights stay in float ({first} to {last}): in int8 they leave one "
        "output an SQNR of {int8_db:.1f} dB, in float {float_db:.1f} dB, measured on {samples} validation samples; {label} on "
        "validation is {metric_int8:.4g} with them in int8 and {metric_float:.4g} in float, measured"
    )
    return template.format(count=len(operators), first=operators[0], last=operators[-1], label=fact.subject, **fact.values)


def _reads_float(fact: Fact) -> str:
    source = fact.values["source_operator"]
    if not source:
        return gettext("it reads the network's input in float")
    producer = f"{source} {fact.values['source']}".rstrip()
    return gettext("it reads the result of {producer} in float", producer=producer)


def _scheme_chosen(fact: Fact) -> str:
    candidates, passed = (", ".join(map(str, values)) if isinstance(values := fact.values[name], tuple | list) else ""
                          for name in ("candidates", "passed"))  # fmt: skip
    if not passed:
        return gettext(
            "none of the schemes {candidates} passed the acceptance test; {scheme} loses least", candidates=candidates,
            scheme=fact.subject,
        )  # fmt: skip
    return gettext(
        "scheme {scheme} is the fastest that passed the acceptance test (tried {candidates}; passed {passed})",
        scheme=fact.subject, candidates=candidates, passed=passed,
    )  # fmt: skip


SENTENCES: Sentences = {
    "quantize.acceptance": _acceptance,
    "quantize.blocks": (
        "linear layers have {bits}-bit weights in blocks of {block} inputs; their products have accuracy level "
        "{accuracy_level} of ONNX Runtime (0: float32, 4: activations rounded to int8)"
    ),
    "quantize.changed_tokens": _changed_tokens,
    "quantize.rounded_on": "rounding {subject} has the inputs of layers from {samples} training samples, seed {seed}",
    "quantize.inputs_scaled": (
        "{tensors} inputs of linear layers are scaled by their activations: squared output error {ratio:.0%} of that without "
        "(median), on {samples} samples"
    ),
    "quantize.scheme_chosen": _scheme_chosen,
    "quantize.scheme_failed": "{error}",
    "quantize.bfloat16_emulated": (
        "the onnxruntime file emulates bfloat16 with float32 kernels, since CPUs have no other kernels: its accuracy is valid, "
        "its latency is not"
    ),
    "quantize.nothing_in_int8": (
        "nothing of this network is quantized: it has no convolution and no product with constant weights outside of branches "
        "and loops, so that the file computes in float"
    ),
    "quantize.bfloat16_not_measured": "no runtime on this machine computes in bfloat16",
    "quantize.calibrated": "calibrated by {method} on {images} training samples, selected with seed {seed}",
    "quantize.calibration_images_left_out": (
        "{count} of {images} calibration samples are not used: the outputs of the float network for them are not finite"
    ),
    "quantize.few_calibration_images": (
        "{images} calibration samples are few, so ranges and biases are inaccurate; use {recommended} or more"
    ),
    "quantize.float_activation_product": (
        "a product of two activations: it has no weight to store, and the softmax after it is sensitive"
    ),
    "quantize.float_beside_layer_normalization": (
        "the file has no Q/DQ pairs around it: in networks with layer normalisation only products are quantized"
    ),
    "quantize.float_by_keep_float": "kept in float by keep_float",
    "quantize.float_by_mixed_precision": "kept in float by mixed precision",
    "quantize.float_input": _reads_float,
    "quantize.float_layout_change": "a change of layout by the runtime",
    "quantize.float_left_by_quantizer": (
        "the quantizer of ONNX Runtime skipped it; its input or weight is not a plain float tensor"
    ),
    "quantize.float_network_ships": (
        "the float network is used in place of the quantized one; for int8, calibration.learn_epochs: 12 or recover lose less "
        "of the metric, and accept_if.keep: quantized uses the quantized network all the same"
    ),
    "quantize.float_no_bfloat16": "ONNX has no bfloat16 for it up to opset {opset}; it stays in float32",
    "quantize.float_no_kernel": "ONNX Runtime has no int8 kernel of {operator}",
    "quantize.float_not_fused": "ONNX Runtime did not fuse it with its Q/DQ pairs: their types or scales do not fit its kernel",
    "quantize.float_operators": "{count} operators with weights stay in float",
    "quantize.float_range_too_wide": (
        "ONNX Runtime removes {operator} only before an unsigned range that begins at its lower limit, and this range is wider"
    ),
    "quantize.float_result": "its result is float, and ONNX Runtime has an int8 {operator} only between quantized tensors",
    "quantize.float_weight_only": "only its weight is stored as integers; the product is computed in float",
    "quantize.float_without_qdq": "the file has no Q/DQ pairs around it",
    "quantize.int8_coverage": (
        "{int8_products} of {products} convolutions and products run in int8; kernels of the float network sum to "
        "{float_parent_ms:.3g} ms, those of the quantized file to {quantized_ms:.3g} ms: {int8_ms:.3g} in int8, {float_ms:.3g} "
        "in float, {conversions_ms:.3g} in conversions"
    ),
    "quantize.keep_float_without_effect": (
        "it is between quantized operators, so ONNX Runtime computes it in integers; add its neighbours to keep_float"
    ),
    "quantize.layers_not_measured": "{error}",
    "quantize.float_boxes": (
        "the {count} operators that choose and decode proposals stay in float: a step of int8 is several pixels of a box"
    ),
    "quantize.float_tail": _float_tail,
    "quantize.mixed_precision": _mixed_precision,
    "quantize.numeric_format": _numeric_format,
    "quantize.quantized_network_meets_budget": (
        "the quantized network is used although it failed the acceptance test, since it meets limits of the budget that the "
        "float network does not meet: {limits}"
    ),
    "quantize.quantized_network_ships": (
        "the quantized network is used although it failed the acceptance test, because of accept_if.keep"
    ),
    "quantize.runtime_unavailable": "{error}",
}
_NODE = "{operator} {subject}"
SUBJECTS: Sentences = {
    "quantize.bfloat16_not_measured": "operators in bf16",
    "quantize.float_activation_product": f"{_NODE} ({{runtime}})",
    "quantize.float_by_keep_float": f"{_NODE} ({{runtime}})",
    "quantize.float_by_mixed_precision": f"{_NODE} ({{runtime}})",
    "quantize.float_left_by_quantizer": f"{_NODE} ({{runtime}})",
    "quantize.float_no_bfloat16": lambda fact: f"{fact.values['operator']} {fact.subject}".rstrip(),
    "quantize.float_no_kernel": f"{_NODE} ({{runtime}})",
    "quantize.keep_float_without_effect": f"keep_float of {_NODE} ({{runtime}})",
    "quantize.layers_not_measured": "operators in int8",
    "quantize.runtime_unavailable": "runtime {subject}",
    "quantize.scheme_failed": "scheme {subject}",
}
