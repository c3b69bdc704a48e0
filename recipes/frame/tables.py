"""What passes from the trainings to report, claims and pictures: one tidy table."""

COLUMNS = ["run", "step", "quantity", "value"]


def tidy(records_by_run, hyperparameters_by_run):
    """A row for each number that was recorded.

    Args:
        records_by_run: dict, a training's name to its records (dicts of "step" and a number, or None for what was not finite, a quantity).
        hyperparameters_by_run: dict, a training's name to its hyperparameters.

    Returns:
        A pandas.DataFrame with the columns run, step, quantity, value, and one a hyperparameter, in the order of the trainings. Quantities are those of
        `fit` (loss, test_accuracy, ...), of the instruments (variance_shift/ratio/02_batch_normalization, ...) and of `at_end`.

    Example:
        >>> table = tidy({"plain-seed0": [{"step": 10, "loss": 2.5}]}, {"plain-seed0": {"contestant": "plain", "seed": 0}})
        >>> table.to_dict("records")
        [{'run': 'plain-seed0', 'step': 10, 'quantity': 'loss', 'value': 2.5, 'contestant': 'plain', 'seed': 0}]
    """
    import pandas as pd  # Not at the top of the file: a recipe's --help need not wait for it.

    rows = [
        (run, record["step"], quantity, float("nan") if value is None else value)
        for run, records in records_by_run.items()
        for record in records
        for quantity, value in record.items()
        if quantity != "step" and not isinstance(value, bool)
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    chosen = pd.DataFrame([{"run": run, **values} for run, values in hyperparameters_by_run.items()])
    return table.merge(chosen, on="run", how="left")


def of(table, quantity):
    """The rows of one quantity."""
    return table[table["quantity"] == quantity]


def at_end(table, *quantities):
    """The last row of each training, of the first of the quantities that it has."""
    import pandas as pd

    rows = pd.concat([of(table, quantity).groupby("run", sort=False).tail(1) for quantity in quantities])
    return rows.drop_duplicates("run").sort_index()


def stacked(parts, column):
    """Several tables as one, with a column that says of each row which it is from.

    Args:
        parts: dict, what the column holds to a table.
        column: its name.
    """
    import pandas as pd

    return pd.concat([rows.assign(**{column: name}) for name, rows in parts.items()])


def by_layer(table, quantity):
    """The rows of a quantity that each layer has, such as variance_shift/ratio, with the columns layer (its tag) and layer_number."""
    rows = table[table["quantity"].str.startswith(f"{quantity}/")].copy()
    rows["layer"] = rows["quantity"].str.rsplit("/", n=1).str[-1]
    rows["layer_number"] = rows["layer"].str.extract(r"^(\d+)", expand=False).astype(float)
    return rows
