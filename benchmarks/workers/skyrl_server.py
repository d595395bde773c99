"""SkyRL's API server, whose engine is started by this interpreter: by itself it insists on `uv run` as its parent."""

import argparse
import sys

import skyrl.tinker.api as api
import uvicorn
from skyrl.tinker.config import EngineConfig, add_model, config_to_argv

if __name__ == "__main__":
    api._build_uv_run_cmd_engine = lambda parent, config: [
        sys.executable, "-m", "skyrl.tinker.engine", *config_to_argv(config)
    ]  # fmt: skip
    parser = argparse.ArgumentParser()
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    add_model(parser, EngineConfig)
    chosen = vars(parser.parse_args())
    host, port = chosen.pop("host"), chosen.pop("port")
    api.app.state.engine_config = EngineConfig.model_validate(chosen)
    uvicorn.run(api.app, host=host, port=port, log_level="warning")
