"""Make demo_tokens.json: ids that Hugging Face `tokenizers` gives for the demo's tokenizer.json.

usage: make_demo_tokens.py    needs tokenizers (written with 0.23.3)

Only <|User|> and <|Assistant|> of the control tokens are used: `tokenizers` numbers added tokens that its model does not know
after the model's own, whatever ids the file gives them, and just these two end up where the file has them.
"""
import json
import os
import random

import tokenizers

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "..", "..", "..", "bench", "demo", "model")

POOL = [
    "Emma", " Woodhouse", "handsome", ",", " ", "  ", "\n", "\r\n", "\t", "1813", "\u0664\u0665", "\u4e2d\u6587", "\u30ab\u30bf",
    "\ud55c", "\u00e9", "e\u0301", "\U0001f680", "\u200d", "\u00a0", "\u3000", "!?", "...", "\u2014", "\u201cq\u201d", "'s", "'LL",
    "<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>", "<\uff5c", "\uff5c>", "\u2581",
    "\u0120", "\x00", "\x85", "\u00df", "\u2167", "_", "a_b", "#x", "{}", "\\n", "://", "$", "\ufeff", "\U00020000", "The", "ing",
]


def main():
    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(MODEL, "tokenizer.json"))
    rng = random.Random(7)
    texts = ["", " ", "a", "It was the best of times.", "\n\n\n", "x" * 50, " " * 50, "1" * 50, "\u00e9" * 20]
    texts += ["".join(rng.choice(POOL) for _ in range(rng.randrange(1, 40))) for _ in range(60)]
    cases = [{"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids} for text in texts]
    with open(os.path.join(HERE, "demo_tokens.json"), "w", encoding="utf-8") as file:
        rows = ",\n".join("  " + json.dumps(case) for case in cases)
        file.write('{\n "tokenizers": ' + json.dumps(tokenizers.__version__) + ',\n "cases": [\n' + rows + "\n ]\n}\n")


main()
