"""Classes that stored versions name. They keep their places: one that moves is named in `loading.MOVED`."""
