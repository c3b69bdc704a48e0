"""Pictures of a recipe's page, in a line each: functions for `Picture.draw` that draw when the trainings are done.

matplotlib and pandas are imported then only, so that --help need not wait for them.
"""


def curves(rows, label, title=None, *, keep=lambda rows: rows, chance=False, **look):
    """As `pictures.curves`.

    Args:
        rows: a quantity, or a function of `experiment.Experiment` that returns the rows.
        label: of the y-axis; {data} in it stands for the name of the data.
        title: what was found; None: what became of each contestant.
        keep: function of the rows that returns those to draw.
        chance: whether a line shows it.
        look: as of `pictures.curves`.
    """

    def draw(experiment):
        from recipes.frame import pictures

        reference = (experiment.data.chance, "chance") if chance else None
        said = pictures.outcomes(experiment) if title is None else title
        return pictures.curves(keep(_rows(rows, experiment)), label.format(data=experiment.data.name), said, reference=reference, **look)

    return draw


def percentiles(quantity, label, title, *, keep=lambda rows: rows):
    """As `pictures.percentiles`.

    Args:
        quantity: whose names end in a slash and the percentile.
        label, title, keep: as of `curves`.
    """

    def draw(experiment):
        from recipes.frame import pictures

        return pictures.percentiles(keep(by_layer(quantity)(experiment)), label, title)

    return draw


def by_layer(quantity):
    """Function of the experiment: `tables.by_layer` of the quantity."""

    def rows(experiment):
        from recipes.frame import tables

        return tables.by_layer(experiment.table, quantity)

    return rows


def mean_of_layers(quantity, first=1):
    """Function of the experiment: one row a training and step, the mean of a quantity over its layers from number `first` on."""

    def rows(experiment):
        found = by_layer(quantity)(experiment).dropna(subset="value")
        found = found[found["layer_number"] >= first]
        return found.groupby(["run", "step", *experiment.hyperparameters], sort=False, as_index=False)["value"].mean()

    return rows


def _rows(rows, experiment):
    from recipes.frame import tables

    return rows(experiment) if callable(rows) else tables.of(experiment.table, rows)
