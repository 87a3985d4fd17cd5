"""What each address answers, a module a subject. Pages read the database in a thread and never change it by a GET."""
