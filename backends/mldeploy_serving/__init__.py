"""The scoring server: Azure Machine Learning v1's entry-script contract over HTTP."""
