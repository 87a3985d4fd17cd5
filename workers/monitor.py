"""The app of who only looks on: `celery --app workers.monitor flower`, or `inspect`. Its broker is the workers' own."""

from db.environment import broker_url
from workers.app import app, line_to

# A worker holds two lines to the broker; who looks on asks many things at once, and would wait for them.
app.conf.update({**line_to(broker_url()), "broker_pool_limit": 16})
