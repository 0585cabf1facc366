"""The layout of a report that answers the tasks of a course's assignment, in its order and with its tables."""
