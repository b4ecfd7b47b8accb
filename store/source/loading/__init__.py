"""Loading: the rows that schema ``raw`` holds, the new ones, and the load with dlt."""
