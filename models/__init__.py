"""What a model is: its declaration, learning, evaluation, promotion, scoring and explanation.

Nothing here knows Dagster or a database: functions take frames, and return frames or write files. Every load of the
code location reads the declarations, so importing this package, a declaration or the registry imports neither pandas
nor scikit-learn.
"""
