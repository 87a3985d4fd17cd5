"""One body per kind of task: a payload and its texts in, a result out. Bodies know no database and no queue."""
