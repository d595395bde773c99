import json
from pathlib import Path

from anubhav.catalog.sizes import Size, size_of


def write(folder: Path, config: dict[str, object], *shapes: list[int]) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    for number, shape in enumerate(shapes):
        header = json.dumps({"__metadata__": {"format": "pt"}, "w": {"dtype": "F32", "shape": shape}}).encode()
        (folder / f"model-{number}.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return folder


def test_parameters_are_counted_over_all_files_of_a_folder(tmp_path: Path) -> None:
    config: dict[str, object] = {"architectures": ["LlamaForCausalLM"], "hidden_size": 8}
    assert size_of(write(tmp_path / "two", config, [8, 8], [3])) == Size(67, 8, "LlamaForCausalLM")


def test_the_width_stands_under_other_names_in_other_families_or_nowhere(tmp_path: Path) -> None:
    assert size_of(write(tmp_path / "gpt", {"n_embd": 4})).hidden == 4
    assert size_of(write(tmp_path / "inner", {"hidden_size": 2, "text_config": {"hidden_size": 6}})).hidden == 6
    assert size_of(write(tmp_path / "none", {})) == Size(0, 0, "")
