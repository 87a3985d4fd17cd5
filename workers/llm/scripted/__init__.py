"""The scripted model: an OpenAI-compatible server on loopback that answers at once, the same for the same question.

It knows our prompts and answers them plausibly: a whole run can be made, timed and broken on purpose without a model.
Its answers depend on its seed and the body of the request alone, and so do its faults, with how often that body was
asked. Run it as `python -m workers.llm.scripted --port 0`: `--help` lists what can go wrong, GET /stats tells what was
counted.
"""
