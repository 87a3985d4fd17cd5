"""Data Designer's nearest pipeline: two columns of answers, an evolved instruction and its response.

Runs in an environment of its own: python -m benchmarks.throughput.peer_data_designer BASE_URL RECORDS PARALLEL FOLDER
"""

import sys
from pathlib import Path

import data_designer.config as dd
from data_designer.interface import DataDesigner

from benchmarks.throughput.texts import question, seed


def main(base_url: str, records: int, parallel: int, folder: Path) -> None:
    limits = dd.ChatCompletionInferenceParams(max_tokens=512, max_parallel_requests=parallel)
    models = [
        dd.ModelConfig(alias=alias, model="scripted", provider="here", inference_parameters=limits)
        for alias in ("evolver", "responder")
    ]
    builder = dd.DataDesignerConfigBuilder(model_configs=models)
    seeds = folder / "seeds.csv"
    seeds.write_text("given\n" + "".join(f'"{seed(f"dd-{number}")}"\n' for number in range(records)), encoding="utf-8")
    builder.with_seed_dataset(dd.LocalFileSeedSource(path=str(seeds)))
    evolve = question("dd").replace(seed("dd"), "{{ given }}")
    builder.add_column(dd.LLMTextColumnConfig(name="evolved", model_alias="evolver", prompt=evolve))
    answer = "Carry out the following instruction.\n\n{{ evolved }}"
    builder.add_column(dd.LLMTextColumnConfig(name="response", model_alias="responder", prompt=answer))
    provider = dd.ModelProvider(name="here", endpoint=base_url, provider_type="openai", api_key="none")
    designer = DataDesigner(artifact_path=folder / "artifacts", model_providers=[provider])
    designer.create(builder, num_records=records)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
