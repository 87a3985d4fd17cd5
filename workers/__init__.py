"""The hands: a Celery app, one task body per kind, the model gateway, prompts, judges and guards.

Workers know texts, prompts and models. They know nothing of trees.
"""
