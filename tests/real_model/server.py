"""A real llama.cpp server for measurements, a process of its own: `python -m tests.real_model.server MODEL.gguf PORT`.

Needs the package `xllamacpp` in this environment; it is no dependency of the product nor of its tests. Whoever
published the weights vouches for nothing: started by root, the process gives its rights up first.
"""

import os
import sys
import time
from pathlib import Path

NOBODY = 65534


def serve(model: Path, port: int, threads: int) -> None:
    """Serve `model` at http://127.0.0.1:PORT/v1 until the process is ended."""
    import xllamacpp

    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = 8192
    params.n_parallel = 1
    params.cpuparams.n_threads = threads
    params.use_jinja = True
    params.model_alias = {"real-model"}
    server = xllamacpp.Server(params)
    print(f"listening {server}", flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 2)
