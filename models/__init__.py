"""What a model is: its declaration, learning, evaluation, promotion, scoring and explanation.

Nothing here knows Dagster or a database: frames come in, frames and files come out. The declarations are read by
every load of the code location, so importing this package, a declaration or the registry imports neither pandas nor
scikit-learn.
"""
