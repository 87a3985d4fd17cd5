"""distilabel's nearest pipeline: EvolInstruct with two evolutions, then TextGeneration.

Runs in an environment of its own: python -m benchmarks.throughput.peer_distilabel BASE_URL ROWS BATCH FOLDER
"""

import logging
import sys

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import EvolInstruct, TextGeneration

from benchmarks.throughput.texts import seed


def main(base_url: str, rows: int, batch: int, folder: str) -> None:
    def model() -> OpenAILLM:
        return OpenAILLM(model="scripted", base_url=base_url, api_key="none", generation_kwargs={"max_new_tokens": 512})

    # It keeps the client's line for every request out of its log by the name that the client's library had then.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    with Pipeline(name="bench", cache_dir=folder) as pipeline:
        given = [{"instruction": seed(f"distilabel-{number}")} for number in range(rows)]
        load = LoadDataFromDicts(data=given, batch_size=batch)
        evolve = EvolInstruct(llm=model(), num_evolutions=2, input_batch_size=batch)
        respond = TextGeneration(
            llm=model(), input_batch_size=batch, input_mappings={"instruction": "evolved_instruction"}
        )
        load >> evolve >> respond
    pipeline.run(use_cache=False)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
