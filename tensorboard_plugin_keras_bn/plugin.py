"""The plugin: its routes, each of which answers a GET with JSON or a file."""

import json
import pathlib

from tensorboard import plugin_util
from tensorboard.backend import http_util
from tensorboard.plugins import base_plugin
from werkzeug import wrappers

from tensorboard_plugin_keras_bn import logged, overview, series
from tensorboard_plugin_keras_bn.refusal import Refusal

STATIC = pathlib.Path(__file__).parent / "static"
TYPES = {".js": "text/javascript", ".css": "text/css", ".json": "application/json"}
# Nothing else is served, whatever a request names.
FILES = (
    "index.js",
    "address.js",
    "canvas.js",
    "colours.js",
    "curves.js",
    "distributions.js",
    "downloads.js",
    "elements.js",
    "heatmap.js",
    "overview.js",
    "profile.js",
    "quantities.js",
    "quantities.json",
    "server.js",
    "style.css",
)


class BatchNormPlugin(base_plugin.TBPlugin):
    """Reads scalars and texts through TensorBoard's data provider; writes nothing and keeps nothing."""

    plugin_name = "keras_bn"

    def __init__(self, context):
        self._provider = context.data_provider
        self._quantities = json.loads((STATIC / "quantities.json").read_text())

    def is_active(self):
        """Whether any run holds numbers of an instrument."""
        scalars = logged.scalars(self._provider, plugin_util.context({}), "")
        return any(tag.split("/")[0] in self._quantities for tags in scalars.values() for tag in tags)

    def frontend_metadata(self):
        return base_plugin.FrontendMetadata(es_module_path="/static/index.js", tab_name="Batch Norm", disable_reload=True)

    def get_plugin_apps(self):
        files = {f"/static/{name}": _file(STATIC / name) for name in FILES}
        return {"/runs": self._answering(self._runs), "/series": self._answering(self._series), "/overview": self._answering(self._overview), **files}

    def _answering(self, answer):
        """A WSGI application that sends what `answer(ctx, experiment, arguments)` returns, as JSON, or why it cannot."""

        def respond(request):
            try:
                environ = request.environ
                return _sent(request, answer(plugin_util.context(environ), plugin_util.experiment_id(environ), request.args))
            except Refusal as refusal:
                return _sent(request, {"error": str(refusal)}, 400)

        return _read_only(respond)

    def _runs(self, ctx, experiment, arguments):
        """All runs, and which quantities each has; short, as the page asks for it again and again."""
        scalars = logged.scalars(self._provider, ctx, experiment)
        runs = [run.run_name for run in self._provider.list_runs(ctx, experiment_id=experiment)]
        return {"runs": [{"name": run, "measures": logged.measures(scalars.get(run, {}), self._quantities)} for run in sorted(runs)]}

    def _series(self, ctx, experiment, arguments):
        """Quantities of some runs, by layer and step."""
        scalars = logged.scalars(self._provider, ctx, experiment, logged.chosen_runs(self._provider, ctx, experiment, arguments))
        chosen = logged.chosen_quantities(arguments, self._quantities)
        return series.read(self._provider, ctx, experiment, scalars, chosen, logged.chosen_steps(arguments))

    def _overview(self, ctx, experiment, arguments):
        """Of some runs the worst layer of each quantity, and what `surgery.diagnose` found."""
        scalars = logged.scalars(self._provider, ctx, experiment, logged.chosen_runs(self._provider, ctx, experiment, arguments))
        judged = overview.judged(self._quantities)
        found = series.read(self._provider, ctx, experiment, scalars, judged)
        texts = logged.diagnoses(self._provider, ctx, experiment, list(scalars))
        return {run: {"worst": overview.worst(run, found, judged), "diagnoses": texts.get(run, [])} for run in scalars}


def _sent(request, content, status=200):
    return http_util.Respond(request, json.dumps(content, allow_nan=False), "application/json", code=status)


def _file(path):
    return _read_only(lambda request: http_util.Respond(request, path.read_bytes(), TYPES[path.suffix]))


def _read_only(respond):
    """A WSGI application that answers a GET by `respond(request)`, and refuses all else."""

    @wrappers.Request.application
    def application(request):
        if request.method != "GET":
            return _sent(request, {"error": f"received {request.method}; this page is read only: expected GET."}, 405)
        return respond(request)

    return application
