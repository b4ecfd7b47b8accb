"""Features and labels as dbt has built them: builds, their SQL, and rows at any moment."""
