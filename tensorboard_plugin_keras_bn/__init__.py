"""The tab "Batch Norm" of TensorBoard: what the instruments of keras_bn logged, by layer and step. Imports neither TensorFlow nor Keras nor keras_bn."""
