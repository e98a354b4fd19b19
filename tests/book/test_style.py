"""The style of figures: what tells variants and encoders apart."""

from __future__ import annotations

from armbook import style


def test_every_variant_has_a_colour() -> None:
    variants = ("static(0.3)", "static(1.0), in-batch", "adaptive", "adaptive, in-batch", "distributed", "mean", "variance")
    assert len({style.colour(variant) for variant in variants}) == len(variants)
    assert style.colour("static(0.3)") == style.colour("static(1.0), released-code reading")
    assert style.short_name("/models/mine/roberta") == "mine/roberta" and style.short_name("lsa/mpnet") == "lsa/mpnet"
    assert len({style.marker(f"lsa/{name}") for name in ("distilbert", "roberta", "mpnet")}) == 3
