"""Raw data sets read into the canonical tables. How a data set is read is SQL under `sql/sources/`."""
