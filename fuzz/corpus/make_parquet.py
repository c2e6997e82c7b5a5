"""Makes the Parquet files of the corpus, in the layouts that data sets on the Hub have: python make_parquet.py (pyarrow 26)."""
import pyarrow as pa
import pyarrow.parquet as pq


def write(name, rows, **options):
    pq.write_table(pa.Table.from_pylist(rows), f"data_parquet/{name}.parquet", store_schema=False, **options)


flat = [{"instruction": "Answer", "input": f"Question {i}?", "output": "An answer. " * (i + 1)} for i in range(6)]
for codec in ["none", "snappy", "gzip", "zstd", "lz4", "brotli"]:
    write(codec, flat, compression=codec, write_statistics=False)
write("version2", flat, data_page_version="2.0", row_group_size=2)
write("messages", [{"messages": [{"role": "user", "content": "A cold?"}, {"role": "assistant", "content": "Tea."}]},
                   {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "And flu?"},
                                 {"role": "assistant", "content": "Rest."}]}])
write("medmcqa", [{"id": "a", "question": "Which organ makes bile?", "opa": "Liver", "opb": "Spleen", "opc": "Heart",
                   "opd": "Lung", "cop": 0, "choice_type": "single", "exp": None, "subject_name": "Physiology",
                   "topic_name": None}])
write("pubmedqa", [{"pubid": 1, "question": "Does tea help?", "context": {"contexts": ["Some tea.", "A trial."],
                    "labels": ["BACKGROUND", "METHODS"], "meshes": ["Tea"]}, "long_answer": "It may.",
                    "final_decision": "maybe"}])
