"""The web console: what runs do, in a browser, and how to steer them. It needs the extra `console`.

`session` says who may come in, `front` guards every request, `pages` answer them, `live` keeps a page true while it is
open. What is shown is computed in `figures`, `chart` and `shape`; all texts go through the environment in `page`.
"""
