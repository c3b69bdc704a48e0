"""TensorBoard's Custom Scalars page: which tags stand on which chart."""

from tensorboard.plugins.custom_scalar import layout_pb2, summary

# The charts of each measure, in the order in which they stand on the page: title, and how the tags of its lines go on behind the measure, or the three tags of
# a band: value, lower and upper end.
CHARTS = {
    "internal_covariate_shift": {
        "||G - G'||": "l2/",
        "||G - G'|| / ||G||": "relative/",
        "cosine of G and G'": "cosine/",
    },
    "variance_shift": {
        "variance in inference / moving variance, or its inverse": "ratio/",
        "distance of the means in standard deviations": "mean_shift/",
        "variance in inference / variance in training with dropout, predicted": "predicted_ratio/",
    },
    "loss_landscape": {
        "loss along the gradient": ("loss", "loss_min", "loss_max"),
        "change of the gradient along it": ("gradient_change_median", "gradient_change_min", "gradient_change_max"),
        "effective smoothness, and the limit by the step sizes": "(effective_smoothness|grid_limit)$",
        "smoothness for each step size": "smoothness/",
    },
    "activation_statistics": {
        "mean of the inputs": "input_mean/",
        "standard deviation of the inputs": "input_stddev/",
        "15th, 50th and 85th percentile of the inputs": "input_p(15|50|85)/",
        "change of the inputs' means by one update": "mean_change/",
        "change of the inputs' variances by one update": "variance_change/",
        "saturated values, dead channels": "(saturated|dead)/",
        "gradient norm, squared, by that of the next layer": "gradient_ratio/",
    },
}


def layout(measures: list[str]) -> bytes:
    """TensorBoard's Custom Scalars page for these measures: a serialized summary."""
    categories = []
    for measure in measures:
        charts = []
        for title, tags in CHARTS[measure].items():
            if isinstance(tags, str):
                charts.append(layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=[f"^{measure}/{tags}"])))
            else:
                value, lower, upper = (f"{measure}/{tag}" for tag in tags)
                series = layout_pb2.MarginChartContent.Series(value=value, lower=lower, upper=upper)
                charts.append(layout_pb2.Chart(title=title, margin=layout_pb2.MarginChartContent(series=[series])))
        categories.append(layout_pb2.Category(title=measure.replace("_", " "), chart=charts))
    return summary.pb(layout_pb2.Layout(category=categories)).SerializeToString()
