#!/usr/bin/env python3
"""Write the fixtures of exams: log-likelihoods of choices by lm-evaluation-harness, ROUGE-L and chrF of 200 pairs.

    exams.py --fixtures tests/fixtures

Reads the models of `make_fixtures.py` and writes `exams/` beside them: `choices.jsonl` (questions of our own),
`loglikelihoods.json` and `texts.json`. Besides the packages of requirements.txt it needs those of
requirements-exams.txt, and no network.
"""

import argparse
import os
import random
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import json  # noqa: E402  (the two settings above must come first)

import torch  # noqa: E402
from files import write_json  # noqa: E402
from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from records import INSTRUCTION, PAIRS  # noqa: E402
from rouge_score import rouge_scorer  # noqa: E402
from sacrebleu.metrics import CHRF  # noqa: E402

# (folder, adapter). The longest questions are longer than the 64 positions of `wide`.
MODELS = [("window", None), ("window", "adapter_qv"), ("wide", None)]


def questions():
    """Questions of the corpus, each with its own answer among others', of two to five choices."""
    draw = random.Random(5)
    answers = [answer for _, answer in PAIRS]
    found = []
    for question, answer in PAIRS[:24]:
        others = draw.sample([other for other in answers if other != answer and len(other) < 90], draw.randint(1, 4))
        choices = others + [answer if len(answer) < 90 else answer[:80].strip()]
        draw.shuffle(choices)
        right = next(at for at, choice in enumerate(choices) if answer.startswith(choice))
        found.append({"question": question, "choices": choices, "answer": right})
    long = " ".join(question for question, _ in PAIRS[:9])
    found.append({"question": long, "choices": ["Yes.", "No, it is not.", "Paper and paste."], "answer": 1})
    found.append({"question": "Wie heißt der Fluß?", "choices": ["Düna – oder Memel", "Œuvre", "naïve"], "answer": 0})
    return found


def measure(fixtures, name, adapter, exam):
    """What the harness makes of the exam: each choice's log-likelihood, and both accuracies."""
    more = {"peft": str(fixtures / adapter)} if adapter else {}
    model = HFLM(pretrained=str(fixtures / name), device="cpu", dtype="float32", batch_size=1, **more)
    requests = []
    for item in exam:
        prompt = f"Instruction: {INSTRUCTION}\nQuestion: {item['question']}\nResponse:"
        for at, choice in enumerate(item["choices"]):
            arguments = (prompt, " " + choice)
            requests.append(Instance(request_type="loglikelihood", doc=item, arguments=arguments, idx=at))
    sums = iter(value for value, _ in model.loglikelihood(requests, disable_tqdm=True))
    rows = [[next(sums) for _ in item["choices"]] for item in exam]
    best = [max(range(len(row)), key=row.__getitem__) for row in rows]
    each = [[value / len(choice) for value, choice in zip(row, item["choices"])] for row, item in zip(rows, exam)]
    best_each = [max(range(len(row)), key=row.__getitem__) for row in each]
    share = lambda picks: sum(pick == item["answer"] for pick, item in zip(picks, exam)) / len(exam)  # noqa: E731
    return {
        "model": name,
        "adapter": adapter,
        "loglikelihoods": rows,
        "accuracy": share(best),
        "accuracy_normalised": share(best_each),
    }


def pairs():
    """200 pairs of texts: answers against answers, altered, cut, doubled, in other orders and scripts, and empty ones."""
    draw = random.Random(7)
    answers = [answer for _, answer in PAIRS]
    odd = ["", " ", "…", "A.", "3.14 or 1e-9?", "ÄÖÜ straße", "don't – won't", "今日は雨が降っています。", "it's 25 °C\tnow\u00a0!",
           "snake_case CamelCase", "İstanbul ẞ", "a\u001cb c"]
    found = [(one, other) for one in odd for other in draw.sample(odd + answers, 4)]
    while len(found) < 200:
        reference = draw.choice(answers)
        words = reference.split()
        kind = draw.randrange(6)
        if kind == 0:
            answer = draw.choice(answers)
        elif kind == 1:
            answer = " ".join(draw.sample(words, len(words)))
        elif kind == 2:
            answer = " ".join(words[: draw.randint(1, len(words))])
        elif kind == 3:
            answer = " ".join(word for word in words if draw.random() < 0.7)
        elif kind == 4:
            answer = reference + " " + draw.choice(answers)
        else:
            answer = reference.upper() if draw.random() < 0.5 else " ".join(words + words)
        found.append((answer, reference))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fixtures", required=True, type=Path, help="the folder of make_fixtures.py")
    fixtures = parser.parse_args().fixtures
    torch.set_num_threads(1)
    out = fixtures / "exams"
    out.mkdir(exist_ok=True)
    exam = questions()
    lines = [json.dumps(item, ensure_ascii=False) for item in exam]
    (out / "choices.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(out / "loglikelihoods.json", {"models": [measure(fixtures, *model, exam) for model in MODELS]})
    rouge, chrf = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False), CHRF()
    write_json(out / "texts.json", [
        {
            "answer": answer,
            "reference": reference,
            "rouge_l": rouge.score(reference, answer)["rougeL"].fmeasure,
            "chrf": chrf.sentence_score(answer, [reference]).score,
        }
        for answer, reference in pairs()
    ])


if __name__ == "__main__":
    main()
