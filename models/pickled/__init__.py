"""Classes that stored versions name. They keep their places: a version that names another one loads no more."""
