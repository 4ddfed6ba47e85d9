import random

import numpy as np


def numbers(doc, results):
    ((logp, greedy),) = results
    return {
        "logp": logp,
        "numpy_bool": np.bool_(greedy),
        "numpy_float": np.float32(logp),
        "unlisted": 1.0 if greedy else 0.0,
    }


def words(doc, results):
    right = doc["answer"].lower() in results[0].lower()
    return {
        "words": float(len(results[0].split())),
        "holds": np.bool_(right),
        "maybe": float("nan") if doc["gold"] == 1 else 1.0,
        "longest": max(map(len, results[0].split()), default=0),
        "unlisted": 2.0,
    }


def pairs(doc, results):
    return {
        "bleu": (doc["text"], results[0]),
        "chrf": (doc["text"], results[0]),
        "ter": (doc["text"], results[0]),
    }


def shuffled(dataset):
    def one(doc):
        order = list(range(3))
        random.shuffle(order)
        return {"choices": [doc["choices"][i] for i in order], "gold": order.index(doc["gold"])}

    return dataset.map(one)


def with_number(doc):
    return f"{random.random():.6f} {doc['question']}"


def rows(**known):
    import datasets

    made = [
        {"question": f"Number {i} of {known['count']}?", "answer": f" {i}"} for i in range(known["count"])
    ]
    return {"test": datasets.Dataset.from_list(made)}
