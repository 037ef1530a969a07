"""Where the attention heads are in the parameters of a module, for modules of torch, torchvision, timm and Hugging Face.

With grouped-query attention (Ainslie et al. 2023, arXiv:2305.13245) the heads of a layout are its key–value groups: a head of
keys and values with the queries that share it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from compress.models.pruned_attention import POSITIONED

_PER_HEAD = (("relative_position_bias_table", 1), ("logit_scale", 0), ("cpb_mlp.2.weight", 0))
"""Parameters of window attention with one entry for each head, and the dimension of these entries."""
_COUNTS = ("num_heads", "n_heads", "num_attention_heads")
"""Attributes with the number of heads."""
_HEAD_WIDTH = "head_dim"
"""Attribute with the width of one head, from which modules without a number of heads take it."""
QUERIES_PER_GROUP = "num_key_value_groups"
"""Attribute with the number of queries that share a head of keys and values."""
SHARED_BIAS = "relative_attention_bias"
"""Name of an embedding that adds a number for each head and distance to the scores of all attention modules beside it."""


@dataclass(frozen=True)
class _Names:
    """Names of the projections of one kind of attention module.

    Attributes:
        inner: Layers whose rows belong to heads.
        outer: Layer whose columns belong to heads.
        parts: Consecutive parts of the rows, each with all heads: 3 for a joint projection to queries, keys and values.
        interleaved: Parts within the rows of each head: 3 for a joint projection that is ordered by heads.
        optional: Further layers whose rows belong to heads, where the module has them.
        vectors: Parameters outside of layers with entries for heads.
    """

    inner: tuple[str, ...]
    outer: str
    parts: int = 1
    interleaved: int = 1
    optional: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()


_KNOWN = (
    _Names(("qkv",), "proj", parts=3),
    _Names(("to_qkv",), "merge", parts=3),
    _Names(("c_attn",), "c_proj", parts=3),
    _Names(("q_proj", "k_proj", "v_proj"), "o_proj"),
    _Names(("q_proj", "k_proj", "v_proj"), "out_proj"),
    _Names(("q_lin", "k_lin", "v_lin"), "out_lin"),
    _Names(("q", "k", "v"), "o"),
    _Names(("query", "key", "value"), "out"),
    _Names(("query", "key", "value"), "dense"),
    _Names(("self.query", "self.key", "self.value"), "output.dense"),
    _Names(("attention.query", "attention.key", "attention.value"), "output.dense"),
    _Names(
        ("self.query_proj", "self.key_proj", "self.value_proj"),
        "output.dense",
        optional=("self.pos_key_proj", "self.pos_query_proj"),
    ),
    _Names(
        ("self.in_proj",),
        "output.dense",
        interleaved=3,
        optional=("self.pos_proj", "self.pos_q_proj"),
        vectors=("self.q_bias", "self.v_bias"),
    ),
)


@dataclass(frozen=True)
class HeadLayout:
    """Position of the heads in the parameters of an attention module.

    Attributes:
        owners: Submodules with the number of heads, each with the name of the attribute; the first one is read. The name is
            empty where a module counts its heads by their width.
        inner: Weights whose rows belong to heads, each with its number of parts (3: queries, keys, values).
        outer: Weights whose columns belong to heads.
        others: Further parameters with entries for heads: name, dimension of the heads, number of parts.
        keys: Weight of the keys, by whose rows heads are counted where no attribute says their number.
    """

    owners: tuple[tuple[str, str], ...]
    inner: tuple[tuple[str, int], ...]
    outer: tuple[str, ...]
    others: tuple[tuple[str, int, int], ...] = ()
    keys: str = ""

    def count(self, part: nn.Module) -> int:
        """Current number of heads; of key–value groups where queries share keys and values."""
        path, attribute = self.owners[0]
        if not attribute:
            return len(part.get_parameter(self.keys)) // int(getattr(part, _HEAD_WIDTH))
        return int(getattr(part.get_submodule(path), attribute))

    def queries(self, part: nn.Module) -> int:
        """Current number of queries of each head: more than 1 for grouped-query attention."""
        return part.get_parameter(self.outer[0]).shape[1] // len(part.get_parameter(self.keys)) if self.keys else 1

    def parameters(self, part: nn.Module) -> list[tuple[str, int, int]]:
        """Every parameter with entries for heads: its name, the dimension of the heads, and its number of parts."""
        names = dict(part.named_parameters())
        biases = [(key.replace("weight", "bias"), times) for key, times in self.inner]
        inner = [(key, 0, times) for key, times in (*self.inner, *biases) if key in names]
        per_head = [(key, dim, 1) for key, dim in _PER_HEAD if key in names] if isinstance(part, POSITIONED) else []
        return [*inner, *((key, 1, 1) for key in self.outer), *self.others, *per_head]

    def projections(self) -> tuple[str, ...]:
        """Names of the layers whose outputs are heads."""
        keys = (*(key for key, _ in self.inner), *(key for key, _, _ in self.others))
        return tuple(key.rpartition(".")[0] for key in keys if key.endswith(".weight"))


def layout_of(part: nn.Module) -> HeadLayout | None:
    """The layout of the heads of a module; None where it is no self-attention whose heads can be removed.

    Attention modules that add one table of relative positions to their scores (MPNet) have the heads of the table in common:
    their layout is that of the module that owns both.
    """
    if isinstance(part, nn.MultiheadAttention):
        fits = part.in_proj_weight is not None and part.bias_k is None and part.in_proj_weight.numel() > 0
        return HeadLayout((("", "num_heads"),), (("in_proj_weight", 3),), ("out_proj.weight",)) if fits else None
    if isinstance(getattr(part, SHARED_BIAS, None), nn.Embedding):
        return _layout_with_shared_bias(part)
    return next((layout for names in _KNOWN if (layout := _layout_with_names(part, names))), None)


def _layout_with_names(part: nn.Module, names: _Names) -> HeadLayout | None:
    """The layout with these names, if the module has them and its shapes agree."""
    layers = {name: child for name in (*names.inner, names.outer) if isinstance(child := _submodule(part, name), nn.Linear)}
    if len(layers) <= len(names.inner) or not layers[names.outer].weight.numel():
        return None
    owner = names.inner[0].rpartition(".")[0]
    attribute = _count_attribute(part.get_submodule(owner))
    width = layers[names.outer].weight.shape[1]
    if attribute is None and isinstance(getattr(part, _HEAD_WIDTH, None), int) and len(names.inner) == 3:
        return _layout_by_width(part, names, layers)
    rows = names.parts * names.interleaved * width
    if attribute is None or any(len(layers[name].weight) != rows for name in names.inner):
        return None
    parameters = dict(part.named_parameters())
    more = [f"{name}.{kind}" for name in names.optional for kind in ("weight", "bias")]
    others = tuple((key, 0, 1) for key in (*more, *names.vectors) if key in parameters)
    if any(len(parameters[key]) != width for key, *_ in others):
        return None
    inner = tuple((f"{name}.weight", names.parts) for name in names.inner)
    layout = HeadLayout(((owner, attribute),), inner, (f"{names.outer}.weight",), others)
    return layout if layout.count(part) > 0 and width % layout.count(part) == 0 else None


def _layout_by_width(part: nn.Module, names: _Names, layers: dict[str, nn.Linear]) -> HeadLayout | None:
    """The layout of a module that counts its heads by their width, as those of Llama do; queries may share keys and values."""
    width, head = layers[names.outer].weight.shape[1], int(getattr(part, _HEAD_WIDTH))
    queries, keys, values = (len(layers[name].weight) for name in names.inner)
    shared = keys // head * int(getattr(part, QUERIES_PER_GROUP, 1))
    if queries != width or keys != values or keys % head or shared * head != width or not keys:
        return None
    weights = tuple((f"{name}.weight", 1) for name in names.inner)
    return HeadLayout((("", ""),), weights, (f"{names.outer}.weight",), keys=f"{names.inner[1]}.weight")


def _layout_with_shared_bias(part: nn.Module) -> HeadLayout | None:
    """The joint layout of the attention modules inside a module with a table of relative positions for their heads."""
    table = part.get_parameter(f"{SHARED_BIAS}.weight")
    inside = {name: layout for name, child in part.named_modules() if name and (layout := layout_of(child))}
    counts = {layout.count(part.get_submodule(name)) for name, layout in inside.items()}
    if counts != {table.shape[1]}:
        return None
    own = _count_attribute(part)
    owners = [(f"{name}.{owner}".strip("."), key) for name, layout in inside.items() for owner, key in layout.owners]
    return HeadLayout(
        (*owners, *([("", own)] if own else [])),
        tuple((f"{name}.{key}", times) for name, layout in inside.items() for key, times in layout.inner),
        tuple(f"{name}.{key}" for name, layout in inside.items() for key in layout.outer),
        ((f"{SHARED_BIAS}.weight", 1, 1),),
    )


def _count_attribute(part: nn.Module) -> str | None:
    return next((key for key in _COUNTS if isinstance(getattr(part, key, None), int)), None)


def _submodule(part: nn.Module, path: str) -> nn.Module | None:
    """The submodule with this path, or None."""
    try:
        return part.get_submodule(path)
    except AttributeError:
        return None


def attentions(module: nn.Module) -> dict[str, HeadLayout]:
    """Layouts of the self-attention modules with several heads or queries, by name; of nested ones the outermost."""
    layouts = {name: layout for name, part in module.named_modules() if name and (layout := layout_of(part))}
    outermost = {name: layout for name, layout in layouts.items() if not any(_is_inside(name, other) for other in layouts)}
    parts = {name: (layout, module.get_submodule(name)) for name, layout in outermost.items()}
    return {name: layout for name, (layout, part) in parts.items() if layout.count(part) * layout.queries(part) > 1}


def _is_inside(name: str, other: str) -> bool:
    return name.startswith(f"{other}.")


def has_attention(module: nn.Module) -> bool:
    """Whether some part is a self-attention module with a known layout."""
    return any(layout_of(part) is not None for part in module.modules())


def count_heads(module: nn.Module) -> dict[str, int]:
    """Number of heads, or of key–value groups, of each attention module with several heads or queries."""
    return {name: layout.count(module.get_submodule(name)) for name, layout in attentions(module).items()}


def count_queries(module: nn.Module) -> dict[str, int]:
    """Number of queries in each key–value group, of the attention modules where it is more than 1."""
    queries = {name: layout.queries(module.get_submodule(name)) for name, layout in attentions(module).items()}
    return {name: count for name, count in queries.items() if count > 1}


def attention_owners(module: nn.Module) -> dict[str, int]:
    """Number of query heads of every module that multiplies queries, keys and values, except torch's own attention."""
    parts = {name: (layout, module.get_submodule(name)) for name, layout in attentions(module).items()}
    return {
        f"{name}.{owner}".strip("."): layout.count(part) * layout.queries(part)
        for name, (layout, part) in parts.items()
        if not isinstance(part, nn.MultiheadAttention)
        for owner, _ in layout.owners
    }


def projections(module: nn.Module) -> frozenset[str]:
    """Names of the linear layers whose outputs are heads, which the dependency graph cannot follow."""
    named = attentions(module)
    return frozenset(f"{name}.{layer}" for name, layout in named.items() for layer in layout.projections() if layer)
