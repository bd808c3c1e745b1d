"""What can have happened to a table, a module a cause."""
