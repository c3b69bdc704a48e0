"""What TensorBoard loads at its start: nothing here may fail, as it would keep TensorBoard from starting."""

from tensorboard.plugins import base_plugin


class Loader(base_plugin.TBLoader):
    def load(self, context):
        """The plugin; TensorBoard logs an error of it, and goes on without the tab."""
        from tensorboard_plugin_keras_bn.plugin import BatchNormPlugin

        return BatchNormPlugin(context)
