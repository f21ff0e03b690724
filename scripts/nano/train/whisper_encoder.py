"""Take Whisper-tiny's encoder out of smart-turn v3.2 (in the `pipecat-ai` wheel): what nano's ears begin with.

    pip install --no-deps 'pipecat-ai>=1.14,<2'
    python scripts/nano/train/whisper_encoder.py --out work/nano/ears/whisper.pt [--onnx FILE] [--check]
    python scripts/nano/train/train_encoder.py train --start work/nano/ears/whisper.pt --head-minutes 2 --minutes 30

The package is read as a file, never imported. Its weights are 8 bit; they are written as float32. The file's 400
positions (8 s) are Whisper's sinusoids, so all 1500 are computed. Fits n_mels 80, n_audio_state 384, 6 heads, 4 layers.
Licences: wheel and model BSD-2-Clause (Daily), Whisper MIT (OpenAI). Keep both notices.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from realtime.model import features
from realtime.model.encoder import AudioEncoder
from scripts.nano.train.sizes import AUDIO

SHA256 = "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f"  # in pipecat-ai 1.14.0
NAME = "pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx"
WIDTH, POSITIONS, WINDOW = AUDIO.n_audio_state, AUDIO.n_audio_ctx, 800
"""WINDOW: mel frames the file takes."""
ROOT = "inner.encoder."
PARTS = {"self_attn.q_proj": "attn.query", "self_attn.v_proj": "attn.value", "self_attn.out_proj": "attn.out",
         "fc1": "mlp.0", "fc2": "mlp.2", "self_attn_layer_norm": "attn_ln", "final_layer_norm": "mlp_ln"}  # fmt: skip


def without_rounding(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Take the rounding of activations out of the graph, in place; gives every constant by name, dequantised."""
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    rounded = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "QuantizeLinear"}
    plain: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in rounded:
            plain[node.output[0]] = rounded[node.input[0]]
        elif node.op_type == "DequantizeLinear":
            value, scale, zero = (constants[name].astype(np.float32) for name in node.input)
            if scale.size > 1:  # one for each output channel
                axis = next((a.i for a in node.attribute if a.name == "axis"), 1) if value.ndim > 1 else 0
                scale, zero = (np.expand_dims(v, [k for k in range(value.ndim) if k != axis]) for v in (scale, zero))
            constants[node.output[0]] = (value - zero) * scale
    for node in model.graph.node:
        for k, name in enumerate(node.input):
            node.input[k] = plain.get(name, name)
    return constants


def state(model: onnx.ModelProto, constants: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Parameters by the names of `AudioEncoder`, of a model that has gone through `without_rounding`."""
    nodes, found = model.graph.node, {f"after_norm.{k}": constants[f"{ROOT}layer_norm.{k}"] for k in ("weight", "bias")}
    bias_of = {n.input[k]: n.input[1 - k] for n in nodes if n.op_type == "Add" for k in (0, 1)}
    norms = {n.output[0]: n.input[1] for n in nodes if n.op_type == "LayerNormalization"}
    for node in nodes:
        if node.op_type == "Conv" and node.input[2].startswith(ROOT):
            name = node.input[2].removeprefix(ROOT).removesuffix(".bias")
            found |= {name + ".weight": constants[node.input[1]], name + ".bias": constants[node.input[2]]}
        weighted = node.op_type == "MatMul" and node.input[1] in constants
        bias, norm = bias_of.get(node.output[0], ""), norms.get(node.input[0], "")
        if weighted and bias.startswith(ROOT + "layers."):
            layer, part = bias.removeprefix(ROOT + "layers.").removesuffix(".bias").split(".", 1)
            name = f"blocks.{layer}.{PARTS[part]}"
            found |= {name + ".weight": constants[node.input[1]].T, name + ".bias": constants[bias]}
        elif weighted and "self_attn_layer_norm" in norm:  # the key, a projection without bias
            found[f"blocks.{norm.split('.')[3]}.attn.key.weight"] = constants[node.input[1]].T
    for name, value in constants.items():
        if name.startswith(ROOT + "layers.") and "layer_norm" in name:
            *_, layer, part, kind = name.split(".")
            found[f"blocks.{layer}.{PARTS[part]}.{kind}"] = value
    angles = torch.arange(POSITIONS)[:, None] * torch.exp(-np.log(10_000) / 191 * torch.arange(WIDTH // 2))
    theirs, positions = constants[ROOT + "embed_positions.weight"], torch.cat([angles.sin(), angles.cos()], 1)
    if (positions[: len(theirs)] - torch.tensor(theirs)).abs().max() > 1e-4:
        raise ValueError("the file's positions are not Whisper's sinusoids")
    tensors = {name: torch.tensor(np.ascontiguousarray(value, np.float32)) for name, value in found.items()}
    return tensors | {"positional_embedding.weight": positions}


@torch.inference_mode()
def check(graphs: dict[str, onnx.ModelProto], tensors: dict[str, torch.Tensor]) -> None:
    """Print how `AudioEncoder` differs from graphs after each layer; from the first it must not."""
    import onnxruntime

    encoder = AudioEncoder(AUDIO).eval()
    encoder.load_state_dict(tensors)
    wave = torch.randn(160 * WINDOW, generator=torch.manual_seed(0)) * torch.linspace(0, 9, 160 * WINDOW).sin()
    mel = features.log_mel((wave - wave.mean()) / wave.std(), AUDIO.n_mels)[None, :, :WINDOW]
    x, mine = encoder.embed_frames(mel, [WINDOW]), []
    for block, norm in zip(encoder.blocks, [*(b.attn_ln for b in encoder.blocks[1:]), encoder.after_norm], strict=True):
        x = block(x, WINDOW // 2, None)
        mine.append(norm(x)[0])
    for number, (title, model) in enumerate(graphs.items()):
        norms = [n for n in model.graph.node if n.op_type == "LayerNormalization" and n.input[1].startswith(ROOT)]
        names = [n.output[0] for n in norms if "final_layer_norm" not in n.input[1]][1:]  # what `mine` holds
        model.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in names)
        theirs = onnxruntime.InferenceSession(model.SerializeToString()).run(names, {"input_features": mel.numpy()})
        for layer, (a, b) in enumerate(zip(mine, map(torch.tensor, theirs), strict=True)):
            cosine, most = torch.cosine_similarity(a, b[0], dim=-1).mean(), (a - b[0]).abs().max()
            print(f"{title}, layer {layer}: mean cosine {cosine:.5f}, greatest difference {most:.2g}")
            assert number or most < 1e-2, "weights are not where they belong"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--onnx", type=Path, help="the ONNX file, in place of the installed pipecat-ai's")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--check", action="store_true", help="compare activations against onnxruntime")
    args = parser.parse_args()
    content = (args.onnx or Path(str(importlib.metadata.distribution("pipecat-ai").locate_file(NAME)))).read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        parser.error("not the file that this was written for: another sha256")
    exact, served = onnx.load_from_string(content), onnx.load_from_string(content)
    tensors = state(exact, without_rounding(exact))
    check({"activations in float": exact, "activations in 8 bit, as served": served}, tensors) if args.check else None
    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({f"encoder.{name}": x for name, x in tensors.items()}, args.out)


if __name__ == "__main__":
    main()
