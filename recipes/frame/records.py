"""What is read off the records of one training: dicts of "step" and a number a quantity, None where it is not finite."""


def has_diverged(records):
    """Whether the training that left these records met a loss that is not finite."""
    return any("loss" in record and record["loss"] is None for record in records)


def last(records, quantity):
    """The last value of a quantity; None where there is none."""
    return next((record[quantity] for record in reversed(records) if record.get(quantity) is not None), None)
