"""A checkpoint like the demo's with more experts: so large that a node of a machine can be too small for it."""
import json
import os
import re
import shutil
import struct


def _read(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])]) for name, entry in header.items()}


def _write(path, tensors):
    header, offset = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            f.write(data)


def write(source, target, times):
    """Every expert, and its row of the router, comes `times` times."""
    os.makedirs(target)
    with open(os.path.join(source, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    n_experts = config["n_routed_experts"]
    tensors = {}
    for name in sorted(os.listdir(source)):
        if name.endswith(".safetensors"):
            tensors.update(_read(os.path.join(source, name)))
        elif name.startswith("tokenizer"):
            shutil.copy(os.path.join(source, name), target)
    larger = {}
    for name, (dtype, shape, data) in tensors.items():
        expert = re.search(r"\.mlp\.experts\.(\d+)\.", name)
        if expert:
            for copy in range(times):
                number = int(expert[1]) + copy * n_experts
                larger[name.replace(expert[0], f".mlp.experts.{number}.")] = (dtype, shape, data)
        elif ".mlp.gate." in name:
            larger[name] = (dtype, [shape[0] * times, *shape[1:]], data * times)
        else:
            larger[name] = (dtype, shape, data)
    _write(os.path.join(target, "model.safetensors"), larger)
    config["n_routed_experts"] = n_experts * times
    with open(os.path.join(target, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f)
