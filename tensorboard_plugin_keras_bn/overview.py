"""What a run's numbers say at a glance: the worst layer of each quantity that has a worse side."""


def judged(quantities):
    """dict, measure/quantity to its row of quantities.json, of those with a worse side."""
    return {f"{measure}/{name}": row for measure, of_measure in quantities.items() for name, row in of_measure["quantities"].items() if row.get("worse")}


def worst(run, found, judged):
    """Of each quantity the worst layer at the newest step, its number, and since which of the steps read it has been the worst: list of dicts.

    Args:
        found: as of `series.read`.
        judged: as of the function.
    """
    results = []
    for prefix, row in judged.items():
        table = found[prefix][run]
        columns = [[values[place] for values in table["values"]] for place in range(len(table["steps"]))]
        newest = columns[-1] if columns else []
        layer = _worst(newest, row)
        if layer is None:
            continue
        since = len(columns) - 1
        while since and _worst(columns[since - 1], row) == layer:
            since -= 1
        result = {"quantity": prefix, "layer": table["layers"][layer], "name": table["names"][layer], "value": newest[layer]}
        results.append({**result, "step": table["steps"][-1], "since": table["steps"][since], "layers": len(newest)})
    return results


def _worst(values, row):
    """The place of the worst; None where no value is there."""
    places = [place for place, value in enumerate(values) if value is not None]
    return max(places, key=lambda place: badness(values[place], row), default=None)


def badness(value, row):
    """Larger where worse; what is not a number is the worst.

    Args:
        value: as of `series.plain`.
        row: of quantities.json, whose "worse" is "larger", or "further" (from its neutral value, in ratio where the scale is logarithmic).
    """
    if value == "NaN":
        return float("inf")
    value = float(value)
    if row["worse"] == "larger":
        return value
    if row["scale"] == "logarithmic":
        return max(value / row["neutral"], row["neutral"] / value) if value > 0 else float("inf")
    return abs(value - row["neutral"])
