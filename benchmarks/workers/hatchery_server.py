"""hatchery's local server with its real worker, which it starts by itself only where there is CUDA.

It listens on this machine only: by itself it would on every address.
"""

from typing import Any

import hatchery.core.local_dev as local

_OPEN = local.uvicorn.Config


def _closed(*words: Any, **options: Any) -> Any:
    return _OPEN(*words, **{**options, "host": "127.0.0.1"})


if __name__ == "__main__":
    local._has_gpu = lambda: True
    local.uvicorn.Config = _closed
    raise SystemExit(local.main())
