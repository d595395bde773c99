"""What the doctor finds of the engine: the processor, the kernels, the accelerator."""

from collections.abc import Iterator

from anubhav.types.health import Finding, gigabytes


def engine() -> Iterator[Finding]:
    try:
        from anubhav.app import describe_engine

        found = describe_engine()
    except (ImportError, OSError) as problem:
        yield Finding("engine", "fail", f"torch cannot be imported ({problem})", "pip install torch")
        return
    wide = "bfloat16 in hardware" if found.has_bfloat16 else "no bfloat16 in hardware, so --dtype float32"
    yield Finding("cpu", "ok", f"{found.cores} cores for this process, {found.instructions}, {wide}")
    kernels = {True: "built and loaded", False: "not there, so plain torch computes, more slowly", None: "turned off"}
    hint = "Install a C compiler (gcc or clang)." if found.kernels is False else ""
    yield Finding("kernels", "warn" if found.kernels is False else "ok", kernels[found.kernels], hint)
    cards = [f"{name} with {gigabytes(memory)}" for name, memory in found.cards]
    yield Finding("gpu", "ok", ", ".join(cards) or "none that torch can use: models compute on the CPU")
